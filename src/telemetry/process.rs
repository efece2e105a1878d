//! CPU time, memory and files of the process, read from `/proc` for each request of metrics. On other systems than Linux
//! these metrics are missing.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use std::{fmt, fs};

/// Clock ticks in `/proc` are hundredths of a second for every program, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time, memory, open files and start of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut write = |name: &str, help: &str, metric: &dyn Encode| metric.write(&mut encoder, name, help);
        if let Some(stat) = Stat::read() {
            let cpu = ConstCounter::new(stat.cpu_seconds);
            write("process_cpu_seconds", "User and system CPU time of the process", &cpu)?;
            if let Some(boot) = boot_time() {
                let start = ConstGauge::new(boot + stat.start_seconds);
                write("process_start_time_seconds", "When the process was started, since 1970", &start)?;
            }
        }
        if let Some(bytes) = resident_bytes() {
            write("process_resident_memory_bytes", "Memory of the process", &ConstGauge::new(bytes))?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            write("process_open_fds", "Open files and sockets", &ConstGauge::new(files.count() as i64))?;
        }
        Ok(())
    }
}

/// Any metric that is written once.
trait Encode {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Encode for M {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

/// The values of `/proc/self/stat` that are used.
struct Stat {
    cpu_seconds: f64,
    /// When the process was started, in seconds after the machine's own start.
    start_seconds: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name, in brackets, and may hold anything.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        // Numbered from 1 in proc(5); the first here is the third there.
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
            start_seconds: ticks(22)? / TICKS_PER_SECOND,
        })
    }
}

/// When the machine was started, in whole seconds since 1970. By the clocks, because `/proc/stat` may be hidden, as by systemd's
/// `ProcSubset=pid`.
#[cfg(target_os = "linux")]
fn boot_time() -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};
    let (up, now) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Realtime));
    // Whole, so that it stays the same while nobody sets the clock.
    let seconds = now.tv_sec - up.tv_sec - i64::from(now.tv_nsec < up.tv_nsec);
    Some(seconds as f64)
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Option<f64> {
    None
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::util::bare_proc;
    use std::{
        thread,
        time::{SystemTime, UNIX_EPOCH},
    };

    fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    }

    #[test]
    fn what_starts_now_was_started_now() {
        let before = now();
        let text = thread::spawn(|| fs::read_to_string("/proc/thread-self/stat").unwrap()).join().unwrap();
        let started = boot_time().unwrap() + Stat::parse(&text).unwrap().start_seconds;
        // The machine's start is in whole seconds, and a tick is a hundredth.
        assert!((before - 1.1..now() + 0.1).contains(&started), "{started} is not {before}");
    }

    #[test]
    fn it_is_told_where_proc_has_processes_alone() {
        bare_proc::passes("telemetry::metrics::tests::the_text_names_version_and_process");
    }
}
