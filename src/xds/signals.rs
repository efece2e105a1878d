//! Futures that nearly never have something to say, beside what is busy all the time.
//!
//! They are polled only after one of them has woken. Until then a look at them is one flag: of hundreds of connections that
//! all have the same to do, none has the memory of its futures at hand.

use crate::util::lock::lock;
use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, Stream},
    task::{ArcWake, waker_ref},
};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Several futures, of which whatever comes first is taken.
pub(super) struct Signals<'a, T> {
    futures: FuturesUnordered<BoxFuture<'a, T>>,
    bell: Arc<Bell>,
    /// The waker of the last call of [`Signals::next`].
    waker: Option<Waker>,
}

/// What the futures wake. As long as it was not rung it has the waker of the last look.
#[derive(Default)]
struct Bell {
    /// Something may be ready. Read without the lock.
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Resets it and stores whom the next ring wakes. Returns true if it was rung.
    fn silence(&self, waker: &Waker) -> bool {
        let mut held = lock(&self.waker);
        *held = Some(waker.clone());
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        let mut held = lock(&bell.waker);
        bell.rung.store(true, Ordering::Release);
        let waker = held.take();
        drop(held);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<'a, T> Signals<'a, T> {
    /// Without any future yet: [`Signals::next`] waits for ever.
    pub(super) fn new() -> Self {
        Signals { futures: FuturesUnordered::new(), bell: Arc::default(), waker: None }
    }

    /// Adds a future whose result [`Signals::next`] may return.
    pub(super) fn push(&mut self, future: impl Future<Output = T> + Send + 'a) {
        self.futures.push(Box::pin(future));
        self.bell.rung.store(true, Ordering::Release);
    }

    /// Returns the result of the future that is ready first. May be cancelled: nothing is lost.
    pub(super) async fn next(&mut self) -> T {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<T> {
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if known && !self.bell.is_rung() {
            return Poll::Pending;
        }
        self.waker = Some(context.waker().clone());
        // Silent before they are polled: who wakes meanwhile is heard.
        if self.bell.silence(context.waker()) {
            let waker = waker_ref(&self.bell);
            if let Poll::Ready(Some(value)) = Pin::new(&mut self.futures).poll_next(&mut Context::from_waker(&waker)) {
                // Others may be ready as well.
                self.bell.rung.store(true, Ordering::Release);
                return Poll::Ready(value);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::{cell::Cell, sync::atomic::AtomicUsize, time::Duration};
    use tokio::{
        sync::{Notify, oneshot},
        time::timeout,
    };

    #[tokio::test]
    async fn each_is_heard_once_whoever_comes_first() {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel::<usize>()).unzip();
        let mut signals = Signals::new();
        receivers.into_iter().for_each(|receiver| signals.push(receiver.map(Result::unwrap)));
        assert_eq!(signals.next().now_or_never(), None);
        for (number, sender) in senders.into_iter().enumerate().rev() {
            sender.send(number).unwrap();
        }
        let mut heard = vec![signals.next().await, signals.next().await, signals.next().await];
        heard.sort();
        assert_eq!((heard, signals.next().now_or_never()), (vec![0, 1, 2], None));
    }

    #[tokio::test]
    async fn what_is_pushed_later_is_heard_and_none_is_no_end() {
        let mut signals = Signals::new();
        assert_eq!(signals.next().now_or_never(), None, "nothing is there");
        signals.push(std::future::ready(1));
        assert_eq!(signals.next().await, 1);
        assert_eq!(signals.next().now_or_never(), None, "nothing is there any more");
        signals.push(std::future::ready(2));
        assert_eq!(signals.next().await, 2);
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken_whichever_it_is() {
        let notify = Arc::new(Notify::new());
        let mut signals = Signals::new();
        signals.push(notify.clone().notified_owned());
        // Another task has looked before the one that waits.
        assert_eq!(signals.next().now_or_never(), None);
        let waits = tokio::spawn(async move { timeout(Duration::from_secs(10), signals.next()).await });
        tokio::task::yield_now().await;
        notify.notify_one();
        waits.await.unwrap().expect("it is woken");
    }

    #[tokio::test]
    async fn what_did_not_wake_is_not_polled() {
        let (polls, notify) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut signals = Signals::new();
        signals.push({
            let (polls, notify) = (polls.clone(), notify.clone());
            async move {
                let mut notified = Box::pin(notify.notified());
                poll_fn(|context| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    notified.as_mut().poll(context)
                })
                .await;
            }
        });
        let looks = Cell::new(0);
        poll_fn(|context| {
            looks.set(looks.get() + 1);
            assert!(signals.poll_next(context).is_pending());
            match looks.get() {
                20 => Poll::Ready(()),
                _ => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
        .await;
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        notify.notify_one();
        signals.next().await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
