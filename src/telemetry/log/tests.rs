use super::*;
use crate::util::lock::lock;
use serde_json::Value;
use std::{io::Write, sync::Mutex};
use tracing::{info, info_span, warn};

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that are written for what `events` logs.
fn written(format: LogFormat, events: impl FnOnce()) -> String {
    written_in(Format::new(format), events)
}

fn written_in(format: Format, events: impl FnOnce()) -> String {
    let output = Output::default();
    let queue = Queue::start(output.clone(), |lost| notice(lost, LogFormat::Text)).unwrap();
    let lines = Lines { format, color: false, queue: queue.clone(), rates: Mutex::default() };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), events);
    assert!(queue.flush(Duration::from_secs(60)));
    String::from_utf8(lock(&output.0).clone()).unwrap()
}

const HOSTILE: &str = "no\n2026-01-01T00:00:00Z ERROR forged: line\x1b[2J\u{9b}31m";

fn hostile() {
    let span = info_span!("registry", name = HOSTILE).entered();
    warn!(message = %HOSTILE, node = HOSTILE, debug = ?HOSTILE, target = "x", n = 7, "Refused {}.", HOSTILE);
    drop(span);
}

#[test]
fn texts_of_others_stay_inside_their_line() {
    let text = written(LogFormat::Text, hostile);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.trim_end().contains(|c: char| c.is_control()), "{text:?}");
    let shown = "no\\n2026-01-01T00:00:00Z ERROR forged: line\\u001b[2J\\u009b31m";
    let (_, rest) = text.split_once("  WARN ").unwrap();
    let expected =
        format!("registry{{name={shown}}}: portolan::telemetry::log::tests: Refused {shown}. message={shown} ");
    assert!(rest.starts_with(&expected), "{rest}");
    assert!(rest.ends_with(" target=x n=7\n"), "{rest}");
}

#[test]
fn json_has_each_key_once_and_no_control() {
    let text = written(LogFormat::Json, hostile);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.trim_end().contains(|c: char| c.is_control()), "{text:?}");
    for key in ["message", "message_", "target", "target_", "level", "timestamp", "spans", "node"] {
        assert_eq!(text.matches(&format!("\"{key}\":")).count(), 1, "{key} in {text}");
    }
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["message_"], &line["node"], &line["n"]), (&HOSTILE.into(), &HOSTILE.into(), &7.into()));
    assert_eq!(line["spans"], serde_json::json!([{ "name": "registry", "name_": HOSTILE }]));
}

#[test]
fn the_format_changes_between_two_lines() {
    let format = Format::new(LogFormat::Text);
    let control = LogControl { filter: None, format: format.clone() };
    let text = written_in(format, || {
        info!("One.");
        control.set_format(LogFormat::Json);
        info!("Two.");
        control.set_format(LogFormat::Text);
        info!("Three.");
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].ends_with("tests: One.") && lines[2].ends_with("tests: Three."), "{text}");
    assert_eq!(serde_json::from_str::<Value>(lines[1]).unwrap()["message"], "Two.");
}

#[test]
fn a_huge_value_is_cut() {
    let text = written(LogFormat::Text, || info!(huge = %"ö".repeat(10 << 20), "Received."));
    assert!(text.len() < 5_000 && text.ends_with("ö[...]\n"), "{}", text.len());
}

#[test]
fn one_place_logs_a_burst_and_not_more() {
    let text = written(LogFormat::Text, || {
        for stream in 0..2_000 {
            warn!(stream, "A client refuses what it was sent.");
            tracing::debug!(stream, "On request only.");
        }
        warn!("Another place.");
    });
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert!((200..1_000).contains(&count("A client refuses")), "{}", count("A client refuses"));
    assert_eq!(count("Another place."), 1);
}

#[test]
fn the_notice_is_a_line_as_any_other() {
    let text = notice(3, LogFormat::Text);
    assert!(
        text.contains("  WARN portolan::telemetry::log: Lines of the log were lost") && text.ends_with(" lines=3\n")
    );
    let json: Value = serde_json::from_str(&notice(3, LogFormat::Json)).unwrap();
    assert_eq!((&json["level"], &json["lines"]), (&"WARN".into(), &3.into()));
}

#[test]
fn levels_and_filters_are_read_and_misspelt_ones_refused() {
    for good in ["info", "WARN", "off", "info,portolan::xds=debug", "portolan=trace"] {
        assert!(parse_filter(good).is_ok(), "{good}");
    }
    for bad in ["", "slow", "inof,portolan::xds=debug", "portolan=slow", "portolan::xds"] {
        assert_eq!(parse_filter(bad).unwrap_err(), FilterError(bad.into()));
    }
}

#[test]
fn libraries_that_repeat_us_are_silent_unless_they_are_named() {
    let shown = |filter: &str| parse_filter(filter).unwrap().to_string();
    assert!(shown("info").contains("zookeeper_client=off"), "{}", shown("info"));
    assert!(shown("info,zookeeper_client=debug").contains("zookeeper_client=debug"));
}

#[test]
fn variables_go_before_the_configured_level() {
    let variable = |set: &'static [(&str, &str)]| {
        move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    };
    let chosen = |set| choose("info", variable(set));
    assert_eq!(chosen(&[]), ("log.level", "info".into()));
    assert_eq!(chosen(&[("RUST_LOG", "warn"), ("PORTOLAN_LOG", "")]), ("RUST_LOG", "warn".into()));
    assert_eq!(chosen(&[("RUST_LOG", "warn"), ("PORTOLAN_LOG", "debug")]), ("PORTOLAN_LOG", "debug".into()));
}
