//! Configurations as people write them, and what they are told: `tests/golden/config/<case>/`, `in.yaml` and `out.txt`.
//! `UPDATE_GOLDEN=1` rewrites the latter.

use portolan::{
    config, registry,
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

fn told(case: &Path) -> String {
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
        let (told, golden) = (told(&case), case.join("out.txt"));
        assert!(!told.contains("hunter2"), "{} shows a secret:\n{told}", case.display());
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &told).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{}: not what the golden file says, but:\n{told}", case.display()));
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
    assert!(matches!(written.config.registries[0].kind, config::Kind::Example));
    assert!(written.config.xds.listen.ip().is_loopback() && written.config.admin.listen.ip().is_loopback());
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
    let config::Kind::File(file) = &loaded.config.registries[0].kind else { panic!("{loaded:?}") };
    assert_eq!(file.source, registry::file::Source::Path(folder.path().join("services")));
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
