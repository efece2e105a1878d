//! The program `portolan`. Everything is in the library.

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which a few live bytes hold 2 MiB: a quarter of the memory, for no speed. Where
    // the system does not do it, that is all that is lost.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    portolan::cli::main()
}
