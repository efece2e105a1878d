//! Configurations as people write them, and what they are told: `tests/golden/config/<case>/`, `in.yaml` and `out.txt`.
//! `UPDATE_GOLDEN=1` rewrites the latter.

use portolan::{
    config::{self, Loaded, Sources},
    registry,
    util::yaml::{Problems, Resolver},
};
use std::{env, fmt::Write, fs, path::Path};

/// Relative, so that messages name no folder of this machine.
const CASES: &str = "tests/golden/config";

/// The variables that the cases may use.
fn variable(name: &str) -> Option<String> {
    match name {
        "NACOS_USER" => Some("reader".into()),
        "NACOS_PASSWORD" => Some("hunter2".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn output(case: &Path) -> String {
    let text = fs::read(case.join("in.yaml")).unwrap();
    let resolver = Resolver::with_variables(case, variable);
    match config::parse("in.yaml", &text, &resolver) {
        Err(problems) => lines("problem", &problems),
        Ok(loaded) => format!("{}{:#?}\n", lines("warning", &loaded.warnings), loaded.config),
    }
}

fn lines(what: &str, problems: &Problems) -> String {
    problems.iter().fold(String::new(), |mut lines, problem| {
        writeln!(lines, "{what}: {problem}").unwrap();
        lines
    })
}

#[test]
fn every_configuration_is_told_what_its_golden_file_says() {
    let mut cases: Vec<_> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "the cases are gone: {cases:?}");
    let mut wrong = Vec::new();
    for case in cases {
        let (output, golden) = (output(&case), case.join("out.txt"));
        assert!(!output.contains("hunter2"), "{} shows a secret:\n{output}", case.display());
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &output).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != output {
            wrong.push(format!("{}: not what the golden file says, but:\n{output}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_the_example_on_loopback_and_so_is_a_file_of_a_version_only() {
    let written = config::parse("a.yaml", b"version: 1", &Resolver::new("")).unwrap();
    assert_eq!(format!("{:?}", written.config), format!("{:?}", config::Config::default()));
    assert!(written.warnings.is_empty());
    assert_eq!(written.config.registries.len(), 1);
    assert!(written.config.registries[0].kind.is_example());
    assert!(
        written.config.xds.tcp().all(|(_, address)| address.ip().is_loopback())
            && written.config.admin.listen.ip().is_loopback()
    );
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_remedy() {
    let error = config::load(Path::new("nowhere/portolan.yaml")).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot read the configuration nowhere/portolan.yaml: No such file or directory (os error 2); check the path and the permissions"
    );
}

#[test]
fn relative_paths_and_secrets_stand_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portolan.yaml");
    let text = "version: 1\nregistries:\n- { name: a, file: { path: services } }\n- { name: b, nacos: { servers: ['http://127.0.0.1:8848'], username: u, password: '${file:secret}' } }\n";
    fs::write(&path, text).unwrap();
    let error = config::load(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("cannot read {}", folder.path().join("secret").display())), "{error}");
    fs::write(folder.path().join("secret"), "p\n").unwrap();
    let loaded = config::load(&path).unwrap();
    let registry::Kind::File(file) = &loaded.config.registries[0].kind else { panic!("{loaded:?}") };
    assert_eq!(file.source, registry::file::Source::Path(folder.path().join("services")));
}

/// Makes a temporary folder with these files: name and text.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

/// What is read of a folder with variables and settings, or its problems with the folder left out of them.
fn sources(folder: &Path, variables: &[(&str, &str)], settings: &[&str]) -> Result<Loaded, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = settings.iter().map(ToString::to_string).collect();
    let sources = Sources::new(Some(folder.into())).with_variables(variables).with_settings(settings);
    sources.read().result.map_err(|error| error.to_string().replace(&format!("{}/", folder.display()), ""))
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.config.registries.iter().map(|registry| &*registry.name).collect()
}

#[test]
fn the_files_of_a_folder_are_one_configuration_in_the_order_of_their_names() {
    let folder = folder(&[
        ("20-more.yaml", "version: 1\nxds: { limits: { streams: 7 } }\nregistries:\n- { name: b, example: }\n"),
        (
            "10-first.yml",
            "version: 1\nxds: { listen: '127.0.0.1:0' }\nregistries:\n- { name: a, file: { path: services } }\n",
        ),
        ("30.json", "{ \"version\": 1, \"istio\": { \"labels\": { \"a\": \"b\" } } }"),
        (".hidden.yaml", "nonsense"),
        ("README.md", "# nonsense"),
    ]);
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let loaded = sources(folder.path(), &[], &[]).unwrap();
    assert_eq!(names(&loaded), ["a", "b"]);
    assert_eq!((loaded.config.xds.tcp().next().unwrap().1.port(), loaded.config.xds.limits.streams), (0, 7));
    assert_eq!(loaded.config.istio.rules.labels.len(), 1);
    let registry::Kind::File(file) = &loaded.config.registries[0].kind else { panic!("{loaded:?}") };
    assert_eq!(file.source, registry::file::Source::Path(folder.path().join("services")));
}

#[test]
fn what_two_files_both_say_is_told_with_both_places() {
    let folder = folder(&[
        ("a.yaml", "version: 1\nenvoy:\n  unhealthy: omit\nregistries:\n- { name: a, example: }\n"),
        (
            "b.yaml",
            "version: 1\nenvoy:\n\n  unhealthy: mark\n  lb_policy: rondom\nregistries:\n- name: a\n  example:\n",
        ),
        ("c.yaml", "envoy: []\n"),
        ("d.yaml", "version: 1\n  x: 1\n"),
    ]);
    let problems = sources(folder.path(), &[], &[]).unwrap_err();
    let expected = "\
b.yaml:4:3: envoy: the key `unhealthy` is there twice, first in a.yaml on line 3
b.yaml:5:14: envoy.lb_policy: must be one of least_request, round_robin, random, ring_hash, maglev, not \"rondom\"
b.yaml:7:9: registries[1].name: the registry \"a\" is there twice, first in a.yaml on line 5; give one of them another name
c.yaml:1:1: the key `envoy` is there twice, first in a.yaml on line 2
c.yaml:1:1: the key `version` is missing; each file states it";
    assert!(problems.starts_with(expected), "{problems}");
    let last = problems.lines().last().unwrap();
    assert!(problems.lines().count() == 6 && last.starts_with("d.yaml:2:"), "{problems}");
    let empty = tempfile::tempdir().unwrap();
    assert!(sources(empty.path(), &[], &[]).unwrap_err().contains("holds no *.yaml"));
}

#[test]
fn arguments_go_before_variables_and_these_before_files() {
    let folder = folder(&[(
        "a.yaml",
        "version: 1\nlog: { level: warn, format: json }\nregistries:\n- { name: a, example: }\n- { name: b.c, example: }\n",
    )]);
    let variables = [
        ("PORTOLAN_LOG__LEVEL", "debug,portolan::xds=trace"),
        ("PORTOLAN_XDS__LISTEN", "[::1]:0"),
        ("PORTOLAN_XDS__LIMITS__STREAMS", "5"),
        ("PORTOLAN_ENVOY", "{ unhealthy: omit }"),
        ("PORTOLAN_PORT", "tcp://10.0.0.1:80"),
        ("PORTOLAN_ADMIN__LISTEN", ""),
    ];
    let settings =
        ["log.level=error", "registries[b.c].publish.port=8080", "xds.limits.streams=6", "xds.limits.streams=7"];
    let loaded = sources(folder.path(), &variables, &settings).unwrap();
    let config = &loaded.config;
    assert_eq!((config.log.level.as_str(), config.xds.limits.streams), ("error", 7));
    assert_eq!((config.xds.listeners[0].address.to_string(), config.admin.listen.port()), ("[::1]:0".into(), 8081));
    assert_eq!(config.registries[1].policy.ports[0].number.get(), 8080);
    assert!(config.registries[0].policy.ports.is_empty());
    assert_eq!(config.envoy.unhealthy.name(), "omit");
    let list = sources(folder.path(), &[("PORTOLAN_REGISTRIES", "[{ name: x, example: }]")], &[]).unwrap();
    assert_eq!(names(&list), ["x"]);
    assert_ne!(list.hash, loaded.hash);
}

#[test]
fn a_wrong_variable_or_argument_is_named_with_what_was_meant() {
    let folder = folder(&[("a.yaml", "version: 1\nregistries:\n- { name: a, example: }\n")]);
    let variables = [
        ("PORTOLAN_XDS_LISTEN", "127.0.0.1:0"),
        ("PORTOLAN_XDS__LITSEN", "127.0.0.1:0"),
        ("PORTOLAN_ADMIN__LISTEN", "8081"),
        ("PORTOLAN_VERSION__X", "1"),
    ];
    let settings = ["xds.limits.streams", "registries[b].file.path=x", "log.levle=info", "catalog.grace=5"];
    let problems = sources(folder.path(), &variables, &settings).unwrap_err();
    let expected = "\
--set catalog.grace: catalog.grace: must be a time with its unit, such as 500ms, 30s or 10m, not \"5\"
--set log.levle: log: unknown key `levle`; did you mean `level`?
--set registries[b].file.path: registries: nothing here is named \"b\"; there are a
--set xds.limits.streams: write it as KEY=VALUE
PORTOLAN_ADMIN__LISTEN: admin.listen: must be an address and port such as 127.0.0.1:8081 or [::1]:8081, not \"8081\": \"8081\" is neither an IP address nor a host name
PORTOLAN_VERSION__X: version: `x` cannot be set: this is a single value, and has no keys
PORTOLAN_XDS_LISTEN: no key; did you mean PORTOLAN_XDS__LISTEN? Two underscores separate levels
PORTOLAN_XDS__LITSEN: xds: unknown key `litsen`; did you mean `listen`?";
    assert_eq!(problems, expected);
}

#[test]
fn the_hash_is_that_of_the_texts_and_secrets_are_no_part_of_it() {
    let text = "version: 1\nregistries:\n- { name: b, nacos: { servers: ['http://127.0.0.1:8848'], username: u, password: '${file:secret}' } }\n";
    let folder = folder(&[("a.yaml", text), ("secret", "one")]);
    let read = || Sources::new(Some(folder.path().join("a.yaml"))).read();
    let (first, again) = (read(), read());
    fs::write(folder.path().join("secret"), "two").unwrap();
    let second = read();
    let hash = |reading: &config::Reading| reading.result.as_ref().unwrap().hash;
    assert_eq!((hash(&first), &first.files), (hash(&again), &again.files));
    assert_eq!(hash(&first), hash(&second));
    assert_ne!(first.files, second.files, "a change of the secret is noticed");
    assert!(first.files.contains_key(&folder.path().join("secret")), "{:?}", first.files);
    fs::remove_file(folder.path().join("secret")).unwrap();
    let gone = read();
    assert!(gone.result.is_err() && gone.files[&folder.path().join("secret")].is_none(), "{gone:?}");
}

proptest::proptest! {
    /// Half-written, overwritten, cut: whatever a good file has become, it is read or its problems are told, with lines.
    #[test]
    fn a_damaged_file_is_read_or_its_problems_are_told(
        at in 0..2_000_usize,
        length in 0..60_usize,
        instead in "[ \\n\\t\\-:{}\\[\\]&*!'\"$#,a0é\\x00]{0,8}",
    ) {
        let good = fs::read(Path::new(CASES).join("everything/in.yaml")).unwrap();
        let start = at.min(good.len());
        let end = (start + length).min(good.len());
        let text = [&good[..start], instead.as_bytes(), &good[end..]].concat();
        let lines = 1 + text.iter().filter(|b| **b == b'\n').count();
        if let Err(problems) = config::parse("a", &text, &Resolver::with_variables("", variable)) {
            proptest::prop_assert!(!problems.is_empty());
            for problem in problems.iter() {
                let line = problem.place.line as usize;
                proptest::prop_assert!((1..=lines + 1).contains(&line) && problem.place.column > 0, "{}", problem);
            }
        }
    }
}
