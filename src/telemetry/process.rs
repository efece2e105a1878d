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
        let text = fs::read_to_string("/proc/self/stat").ok()?;
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

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}
