//! Somebody who connects to an address again and again, to see whether it is always there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, task::JoinHandle};

pub struct Connecting {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Connecting {
    pub fn to(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let (mut connected, mut refused) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    // Each is let go at once: it may wait in the queue for the next process.
                    match TcpStream::connect(address).await {
                        Ok(_) => connected += 1,
                        Err(error) => refused.push(error.to_string()),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (connected, refused)
            }
        });
        Connecting { stop, task }
    }

    /// Stops, and asserts that it connected more than ten times and was never refused.
    pub async fn was_always_taken(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (connected, refused) = self.task.await.unwrap();
        assert!(connected > 10, "{connected}");
        assert_eq!(refused, Vec::<String>::new());
    }
}
