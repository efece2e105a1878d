use super::*;
use std::{collections::BTreeMap, fs, time::Duration};

fn parse(text: &str) -> Document {
    Document::parse("f.yaml", text.as_bytes(), &Limits::default()).unwrap()
}

/// The problems with a text, as they are printed.
fn problems<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> Option<T>) -> Vec<String> {
    let reading = parse(text).read(Some(&resolver()), |root| root.section(read));
    reading.problems.iter().map(ToString::to_string).collect()
}

/// The value of a text, which must have no problem.
fn value<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> Option<T>) -> T {
    parse(text).read(Some(&resolver()), |root| root.section(read)).finish().map_err(|p| p.to_string()).unwrap()
}

fn resolver() -> Resolver {
    Resolver::with_variables("/nowhere", |name| match name {
        "NAME" => Some("value".into()),
        "SECRET" => Some("hunter\"2".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

fn syntax(text: &[u8], limits: &Limits) -> String {
    Document::parse("f.yaml", text, limits).unwrap_err().to_string()
}

#[test]
fn every_getter_reads_its_form() {
    let seconds = Duration::from_secs;
    assert_eq!(value("a: x", |s| s.need("a", |v| v.string())), "x");
    assert_eq!(value("a: 'null'", |s| s.need("a", |v| v.string())), "null");
    assert_eq!(value("a: 80", |s| s.need("a", |v| v.string())), "80");
    assert_eq!(value("a: '80'", |s| s.need("a", |v| v.integer(1..=100_u16))), 80);
    assert!(value("a: true", |s| s.need("a", |v| v.bool())));
    assert_eq!(value("a: 1e1", |s| s.need("a", |v| v.number(0.0..=10.0))), 10.0);
    assert_eq!(value("a: 30%", |s| s.need("a", |v| v.fraction())), 0.3);
    assert_eq!(value("a: 0.25", |s| s.need("a", |v| v.fraction())), 0.25);
    assert_eq!(value("a: 1m 30s", |s| s.need("a", |v| v.duration(seconds(0)..=seconds(90)))), seconds(90));
    assert_eq!(value("a: 127.0.0.1:0", |s| s.need("a", |v| v.socket_address())), "127.0.0.1:0".parse().unwrap());
    assert_eq!(value("a: y", |s| s.need("a", |v| v.word(&[("x", 1), ("y", 2)]))), 2);
    assert_eq!(value("a: [x, y]", |s| s.need("a", |v| v.each(Value::string))), ["x", "y"]);
    assert_eq!(value("a: x", |s| s.need("a", |v| v.one_or_each(Value::string))), ["x"]);
    assert_eq!(value("a: [x]", |s| s.need("a", |v| v.one_or_each(Value::string))), ["x"]);
    let texts = BTreeMap::from([("b".to_owned(), "1".to_owned()), ("c".into(), String::new())]);
    assert_eq!(value("a: {b: 1, c: ''}", |s| s.need("a", Value::texts)), texts);
    assert_eq!(value("a: {b: 1}", |s| s.section("a", |s| s.get("b", |v| v.integer(0..=9_i64)))), 1);
    assert_eq!(value("a: p", |s| s.need("a", Value::secret)).expose(), "p");
    assert_eq!(value("a: 64MiB", |s| s.need("a", |v| v.bytes(1..=64 << 20))), 64 << 20);
    assert_eq!(value("a: b/c", |s| s.need("a", Value::path)), std::path::Path::new("/nowhere/b/c"));
    assert_eq!(value("a: /b/c", |s| s.need("a", Value::path)), std::path::Path::new("/b/c"));
}

#[test]
fn a_missing_key_and_null_are_the_same() {
    for text in ["{}", "a:", "a: ~", "a: null", "{\"a\": null}", ""] {
        assert_eq!(value(text, |s| Some(s.get("a", Value::string))), None, "{text:?}");
        let missing = problems(text, |s| s.need("a", Value::string));
        assert_eq!(missing, ["f.yaml:1:1: the key `a` is missing"], "{text:?}");
    }
}

#[test]
fn a_key_that_narrows_may_be_missing_but_not_empty() {
    let read = |s: &mut Section<'_>| Some(s.narrow("a", "all would fit", |v| v.one_or_each(Value::string)));
    assert_eq!(value("{}", read), None);
    assert_eq!(value("a: x", read), Some(vec!["x".to_owned()]));
    for (text, place) in [("a:", ""), ("a: ~", ""), ("a: []", "a"), ("a: {}", "a")] {
        let found = problems(text, read);
        assert_eq!(found.len(), 1, "{text:?} {found:?}");
        assert!(found[0].contains("so all would fit; leave the key out if that is meant"), "{text:?} {found:?}");
        assert_eq!(found[0].contains(": a: "), !place.is_empty(), "{text:?} {found:?}");
    }
    let found = problems("a:", |s| Some(s.written("a", "all would fit").is_some()));
    assert_eq!(
        found,
        ["f.yaml:1:1: there is nothing behind `a`, so all would fit; leave the key out if that is meant"]
    );
}

#[test]
fn all_problems_are_told_at_once_by_position_with_their_paths() {
    let text = "
listen: {prot: 80, port: 70000}
servers:
- weight: NaN
- {weight: 2, weight: 3}
mode: slwo
wait: 10
zzz: 1
";
    let found = problems(text, |s| {
        s.get("wait", |v| v.duration(Duration::ZERO..=Duration::MAX));
        s.section("listen", |s| s.get("port", |v| v.integer(1..=65_535)));
        s.get("servers", |v| v.each(|v| v.section(|s| s.get("weight", |v| v.number(0.0..=10.0)))));
        s.get("mode", |v| v.word(&[("fast", ()), ("slow", ())]));
        s.need("name", Value::string)
    });
    assert_eq!(
        found,
        [
            "f.yaml:2:1: the key `name` is missing",
            "f.yaml:2:10: listen: unknown key `prot`; did you mean `port`?",
            "f.yaml:2:26: listen.port: must be a whole number from 1 to 65535, not \"70000\"",
            "f.yaml:4:11: servers[0].weight: must be a number from 0 to 10, not \"NaN\"",
            "f.yaml:5:15: servers[1]: the key `weight` is there twice, first on line 5",
            "f.yaml:6:7: mode: must be one of fast, slow, not \"slwo\"",
            "f.yaml:7:7: wait: must be a time with its unit, such as 500ms, 30s or 10m, not \"10\"",
            "f.yaml:8:1: unknown key `zzz`; known here: wait, listen, servers, mode, name",
        ]
    );
}

#[test]
fn the_wrong_shape_is_named() {
    assert_eq!(
        problems("a: [1]\nb: 1\nc: 1\nd: {}", |s| {
            s.get("a", Value::string);
            s.get("b", Value::list);
            s.section("c", |_| Some(()));
            s.get("d", Value::bool)
        }),
        [
            "f.yaml:1:4: a: must be a single value, but is a list",
            "f.yaml:2:4: b: must be a list, but is a single value",
            "f.yaml:3:4: c: must be a mapping of keys to values, but is a single value",
            "f.yaml:4:4: d: must be a single value, but is a mapping",
        ]
    );
}

#[test]
fn impossible_numbers_are_refused() {
    for text in ["a: .nan", "a: NaN", "a: inf", "a: 1e999", "a: -1", "a: 1e300", "a: 0x10", "a: ''"] {
        assert_eq!(problems(text, |s| s.get("a", |v| v.number(0.0..=1e6))).len(), 1, "{text}");
        assert_eq!(problems(text, |s| s.get("a", |v| v.integer(0..=100_u32))).len(), 1, "{text}");
        assert_eq!(problems(text, |s| s.get("a", |v| v.bytes(0..=100))).len(), 1, "{text}");
        assert_eq!(problems(text, |s| s.get("a", Value::fraction)).len(), 1, "{text}");
    }
    for text in ["a: 101%", "a: 30", "a: -1%", "a: '%'"] {
        assert_eq!(problems(text, |s| s.get("a", Value::fraction)).len(), 1, "{text}");
    }
    assert_eq!(
        problems("a: 2h", |s| s.get("a", |v| v.duration(Duration::from_millis(10)..=Duration::from_secs(60)))),
        ["f.yaml:1:4: a: must be a time from 10ms to 1m, not 2h"]
    );
}

#[test]
fn references_are_replaced_and_escaped_ones_are_not() {
    let text = |yaml: &str| value(yaml, |s| s.need("a", Value::string));
    assert_eq!(text("a: x-${env:NAME}-${env:NAME}"), "x-value-value");
    assert_eq!(text("a: $${env:NAME}$"), "${env:NAME}$");
    assert_eq!(text("a: '{label}'"), "{label}");
    let read = |yaml: &str| problems(yaml, |s| s.get("a", Value::secret));
    let unset = "f.yaml:1:4: a: the environment variable GONE is not set; set it before the start";
    assert_eq!(read("a: ${env:GONE}"), [unset]);
    assert_eq!(read("a: ${env:EMPTY}"), ["f.yaml:1:4: a: ${env:EMPTY} is empty; put a value into it"]);
    assert!(read("a: ${NAME}")[0].contains("write ${env:NAME}, ${file:PATH}, or `$${`"), "{:?}", read("a: ${NAME}"));
    assert!(read("a: ${env:NAME")[0].contains("without its `}`"));
    assert!(
        read("a: ${file:gone}")[0].contains("cannot read /nowhere/gone: No such file"),
        "{:?}",
        read("a: ${file:gone}")
    );
}

#[test]
fn exactly_one_end_of_line_is_taken_off_a_secret_file() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = Resolver::new(folder.path());
    for (content, expected) in [
        ("p", Ok("p")),
        ("p\n", Ok("p")),
        ("p\r\n", Ok("p")),
        ("p\n\n", Ok("p\n")),
        (" p \n", Ok(" p ")),
        ("p\r", Ok("p\r")),
        ("\n", Err(())),
        ("", Err(())),
    ] {
        fs::write(folder.path().join("secret"), content).unwrap();
        let found = resolver.fill("${file:secret}");
        assert_eq!(found.as_deref().map_err(|_| ()), expected, "{content:?}");
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = Resolver::new(folder.path());
    fs::create_dir(folder.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
    fs::write(folder.path().join("binary"), b"\xff").unwrap();
    fs::write(folder.path().join("huge"), "x".repeat((1 << 20) + 1)).unwrap();
    // The last two can be opened by anybody; one never gives anything, the other never ends.
    for (path, expected) in [
        ("folder", "Is a directory"),
        ("loop", "symbolic links"),
        ("binary", "UTF-8"),
        ("huge", "are too many"),
        ("/proc/self/mem", "error"),
        ("/dev/zero", "are too many"),
    ] {
        let error = resolver.fill(&format!("${{file:{path}}}")).unwrap_err().to_string();
        let shown = folder.path().join(path).display().to_string();
        assert!(error.contains(&format!("cannot read {shown}: ")) && error.contains(expected), "{error}");
    }
}

#[test]
fn what_a_reference_stands_for_is_in_no_problem() {
    let text = "a: ${env:SECRET}\nb: ${env:SECRET}\nc: ${env:SECRET}\nd: ${env:SECRET}";
    let found = problems(text, |s| {
        s.get("a", |v| v.integer(0..=1_u8));
        s.get("b", |v| v.word(&[("x", ())]));
        s.get("c", |v| v.duration(Duration::ZERO..=Duration::MAX));
        s.get("d", |v| v.parse(|text| Err::<(), _>(format!("no {text}"))))
    });
    assert_eq!(found.len(), 4);
    for problem in found {
        assert!(problem.contains("${env:SECRET}") && !problem.contains("hunter"), "{problem}");
    }
}

#[test]
fn texts_that_are_no_yaml_are_refused_with_the_line() {
    let limits = Limits::default();
    assert!(syntax(b"a: [1\nb: 2", &limits).starts_with("f.yaml:"), "{}", syntax(b"a: [1\nb: 2", &limits));
    assert_eq!(syntax(b"a: 1\nb: \xff", &limits), "f.yaml:2:1: not UTF-8; save the file as UTF-8 text");
    assert_eq!(syntax(b"a: 1\n---\nb: 1", &limits), "f.yaml:2:1: a second document; write one document into one file");
    assert!(syntax(b"a: !python/x 1", &limits).contains("the tag !python/x"));
    assert!(syntax(b"? [a]\n: 1", &limits).contains("keys are text"));
    assert!(syntax(b"a: *gone", &limits).contains("not YAML"));
}

#[test]
fn size_depth_and_alias_bombs_have_limits() {
    let limits = Limits { bytes: 100_000, nodes: 1_000, depth: 10 };
    assert!(syntax(&vec![b' '; 100_001], &limits).contains("100001 bytes; at most 100000"));
    assert!(syntax(("[".repeat(11) + &"]".repeat(11)).as_bytes(), &limits).contains("more than 10 lists"));
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..100 {
        let above = format!("*a{},", i - 1).repeat(9);
        bomb.push_str(&format!("a{i}: &a{i} [{above}]\n"));
    }
    assert!(syntax(bomb.as_bytes(), &limits).contains("more than 1000 values"));
    assert!(syntax(bomb.as_bytes(), &Limits::default()).contains("more than 4000000 values"));
    assert!(syntax(b"a: &a [*a]", &limits).contains("f.yaml:1"));
}

#[test]
fn aliases_stand_for_what_they_name() {
    let read = |s: &mut Section<'_>| {
        s.get("a", Value::texts);
        s.need("b", Value::texts)
    };
    assert_eq!(value("a: &x {k: v}\nb: *x", read), BTreeMap::from([("k".into(), "v".into())]));
}

#[test]
fn json_and_a_byte_order_mark_are_read() {
    let text = "\u{feff}{\n\t\"a\": \"\\u00e9\\/\\ud83d\\ude00\",\n\t\"b\": [1, true, null]\n}";
    assert_eq!(
        value(text, |s| {
            s.get("b", Value::list);
            s.need("a", Value::string)
        }),
        "é/😀"
    );
}

#[test]
fn an_attempt_keeps_its_problems_to_itself() {
    let document = parse("- 1\n- x\n- 3");
    let reading =
        document.read(None, |root| root.each(|v| Some(v.attempt(|v| v.integer(0..=9_u8)).map_err(|p| p.to_string()))));
    let bad = "f.yaml:2:3: [1]: must be a whole number from 0 to 9, not \"x\"".to_owned();
    assert_eq!(reading.finish(), Ok(vec![Ok(1), Err(bad), Ok(3)]));
}

#[test]
fn a_hundred_thousand_mappings_are_read_in_linear_time() {
    let mut text = "services:\n".to_owned();
    for i in 0..10_000 {
        text.push_str(&format!("- host: service-{i}.example\n  endpoints:\n"));
        for j in 0..10 {
            text.push_str(&format!("  - {{ address: 10.{}.{}.{j}, port: 8080, weight: 1 }}\n", i / 250, i % 250));
        }
    }
    let endpoints = value(&text, |s| {
        let services = s.need("services", |v| {
            v.each(|v| {
                v.section(|s| {
                    s.need("host", Value::string)?;
                    s.need("endpoints", |v| {
                        v.each(|v| {
                            v.section(|s| {
                                s.need("port", |v| v.integer(1..=65_535_u16));
                                s.get("weight", |v| v.number(0.0..=1e6));
                                s.need("address", Value::string)
                            })
                        })
                    })
                })
            })
        })?;
        Some(services.into_iter().map(|endpoints| endpoints.len()).sum::<usize>())
    });
    // By the square of their number this would take hours.
    assert_eq!(endpoints, 100_000);
}

#[test]
fn several_documents_are_several_trees_and_quotes_are_seen() {
    let text = b"a: 1\n---\n# nothing\n---\n'b'\n";
    let documents = Document::parse_all("f", text, &Limits::default(), 3).unwrap();
    let [first, second] = &documents[..] else { panic!("{documents:?}") };
    let Shape::Map([(key, value)]) = first.root().shape() else { panic!("{first:?}") };
    assert_eq!(
        (key.text(), key.place(), value.place()),
        ("a", Place { line: 1, column: 1 }, Place { line: 1, column: 4 })
    );
    assert!(matches!((value.shape(), second.root().shape()), (Shape::Plain("1"), Shape::Quoted("b"))));
    assert_eq!(second.root().place().line, 5);
    let error = Document::parse_all("f", text, &Limits::default(), 2).unwrap_err();
    assert_eq!(error.to_string(), "f:4:1: more than 2 documents");
    let other = Document::parse_all("f", b"a: &x 1\n---\nb: *x\n", &Limits::default(), 2);
    assert!(other.is_err(), "an anchor is its document's");
}

#[test]
fn a_long_text_behind_many_aliases_counts_as_much_as_it_is_long() {
    let text = format!("[&a {}{}]", "x".repeat(64_000), ", *a".repeat(1_000));
    let limits = Limits { nodes: 100_000, ..Limits::default() };
    assert!(Document::parse("f", text.as_bytes(), &limits).is_err());
    assert!(Document::parse("f", text.as_bytes(), &Limits::default()).is_ok());
}
