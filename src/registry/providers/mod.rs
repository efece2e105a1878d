//! Asks providers of Dubbo themselves what they provide, where the registry does not have it. The only connections that are
//! opened to what a registry lists: hence none unless it is configured, to addresses of other machines alone, a few at a time,
//! each bounded in time and bytes, and one that has failed is left alone for a while. Whoever asks goes on meanwhile.

mod bytes;
mod triple;

use super::dubbo::{
    directory::{Directory, Wanted},
    metadata::Metadata,
    service::{Place, Spoken},
};
use crate::{
    model::{ServiceId, Text},
    util::backoff::Backoff,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument, debug};

/// The most providers that are asked at the same time.
const AT_ONCE: usize = 16;
/// The longest time from connecting to the last byte of an answer.
const TIME: Duration = Duration::from_secs(3);
/// The most instances that are asked for one revision, one after the other, until one answers.
const TRIES: usize = 3;
/// The first pause until a revision that no instance could say is asked for again. It grows with each failure.
const REST: Duration = Duration::from_secs(1);
const MAX_REST: Duration = Duration::from_secs(300);
/// How long the first list waits for those who are asked.
const FIRST: Duration = Duration::from_secs(10);

/// An application with one of its revisions.
type Subject = (ServiceId, Text);

/// The metadata that a provider gave for a revision, or why no provider gave it.
#[derive(Debug)]
struct Answer {
    subject: Subject,
    said: Result<Vec<u8>, Text>,
}

/// The providers that are asked, and what they have answered.
#[derive(Debug)]
pub(super) struct Interviews {
    turns: Arc<Semaphore>,
    asked: JoinSet<Answer>,
    in_flight: BTreeSet<Subject>,
    failed: BTreeMap<Subject, Failure>,
    /// Answers that the directory has not been told yet.
    heard: Vec<Answer>,
    /// The longest time for one question; [`TIME`] outside tests.
    time: Duration,
}

/// A revision that no instance could say, and when it is asked for again.
#[derive(Debug)]
struct Failure {
    why: Text,
    times: usize,
    rest: Backoff,
    until: Instant,
}

impl Interviews {
    pub(super) fn new() -> Self {
        let (asked, in_flight, failed, heard) = Default::default();
        Interviews { turns: Arc::new(Semaphore::new(AT_ONCE)), asked, in_flight, failed, heard, time: TIME }
    }

    /// Tells the directory what was heard, and has those revisions asked for that only providers know. Gives the others that it
    /// wants.
    pub(super) fn look_for(&mut self, directory: &mut Directory) -> Vec<Wanted> {
        self.tell(directory);
        let mut others = Vec::new();
        for wanted in directory.wanted() {
            match wanted.places {
                Some(places) => self.ask((wanted.application, wanted.revision), places),
                None => others.push(wanted),
            }
        }
        self.tell(directory);
        others
    }

    fn tell(&mut self, directory: &mut Directory) {
        for Answer { subject: (application, revision), said } in self.heard.drain(..) {
            directory.learn(&application, revision, said);
        }
    }

    /// Waits for the next answer, which the next [`Interviews::look_for`] tells the directory; forever while nobody is
    /// asked. Safe to cancel: no answer is lost.
    pub(super) async fn hear(&mut self) {
        let answer = self.answered().await;
        self.heard.push(answer);
    }

    /// Waits for all providers that are asked, for [`FIRST`] at most, and tells the directory what they said.
    pub(super) async fn hear_first(&mut self, directory: &mut Directory) {
        let end = Instant::now() + FIRST;
        while !self.in_flight.is_empty() && timeout_at(end, self.hear()).await.is_ok() {}
        self.tell(directory);
    }

    /// Starts to ask for a revision at these places. If that failed shortly before, the same failure is heard again at
    /// once.
    fn ask(&mut self, subject: Subject, places: Vec<Result<Place, String>>) {
        if self.in_flight.contains(&subject) {
            return;
        }
        let failure = self.failed.get(&subject);
        if let Some(failure) = failure.filter(|failure| Instant::now() < failure.until) {
            let said = Err(failure.why.clone());
            return self.heard.push(Answer { subject, said });
        }
        let turn = failure.map_or(0, |failure| failure.times);
        let (turns, time) = (self.turns.clone(), self.time);
        self.in_flight.insert(subject.clone());
        let asking = async move {
            let _turn = turns.acquire_owned().await;
            let said = ask_in_turn(&subject, places, turn, time).await;
            Answer { subject, said }
        };
        self.asked.spawn(asking.in_current_span());
    }

    async fn answered(&mut self) -> Answer {
        loop {
            match self.asked.join_next().await {
                Some(Ok(answer)) => return self.note(answer),
                Some(Err(error)) => debug!(%error, "A provider was asked in vain."),
                None => std::future::pending().await,
            }
        }
    }

    fn note(&mut self, answer: Answer) -> Answer {
        self.in_flight.remove(&answer.subject);
        let now = Instant::now();
        match &answer.said {
            Ok(_) => drop(self.failed.remove(&answer.subject)),
            Err(why) => {
                let failure = self.failed.entry(answer.subject.clone()).or_insert_with(|| Failure {
                    why: why.clone(),
                    times: 0,
                    rest: Backoff::new(REST, MAX_REST),
                    until: now,
                });
                failure.why = why.clone();
                failure.times += 1;
                failure.until = now + failure.rest.next();
            }
        }
        // Revisions that nobody names any more are not asked for again.
        self.failed.retain(|_, failure| now < failure.until + 2 * MAX_REST);
        answer
    }
}

/// Asks some of these places, beginning with another one at each turn; the first answer that is one counts.
async fn ask_in_turn(
    subject: &Subject,
    mut places: Vec<Result<Place, String>>,
    turn: usize,
    time: Duration,
) -> Result<Vec<u8>, Text> {
    let (application, revision) = (&subject.0.name, &subject.1);
    let count = places.len();
    if count > 0 {
        places.rotate_left(turn % count);
    }
    let mut why = String::from("nobody is there to be asked");
    for place in places.into_iter().take(TRIES) {
        let asked = match place {
            Ok(place) => {
                let late = |_| format!("no answer within {} s", time.as_secs());
                let asked = timeout(time, ask(&place, application, revision)).await.map_err(late).flatten();
                asked
                    .and_then(|text| judged(application, revision, text))
                    .map_err(|error| format!("{}: {error}", place.address))
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok(metadata) => return Ok(metadata),
            Err(error) => why = error,
        }
    }
    Err(format!("asked for its metadata itself, {why}").into())
}

/// The answer, if it is metadata of that application and revision: else another instance may know it.
fn judged(application: &str, revision: &str, text: Vec<u8>) -> Result<Vec<u8>, String> {
    match Metadata::parse(application, revision, &text) {
        Ok(_) => Ok(text),
        Err(why) => Err(format!("its metadata {why}")),
    }
}

async fn ask(place: &Place, application: &str, revision: &str) -> Result<Vec<u8>, String> {
    match place.spoken {
        Spoken::Dubbo => bytes::ask(place, application, revision).await,
        Spoken::Triple => triple::ask(place, application, revision).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::dubbo::service::HEAD;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// A subject, and somebody at a place who answers every question with these bytes, and then closes or waits.
    async fn somebody(bytes: Vec<u8>, stays: bool) -> (Subject, Place) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; HEAD];
                if stream.read_exact(&mut head).await.is_ok() {
                    let mut body = vec![0; usize::from(head[15])];
                    let _ = stream.read_exact(&mut body).await;
                    let _ = stream.write_all(&bytes).await;
                }
                open.extend(stays.then_some(stream));
            }
        });
        let application = ServiceId::new("r", "services", "", "shop");
        ((application, "abc".into()), Place { address, version: "1.0.0".into(), spoken: Spoken::Dubbo })
    }

    fn message(flags: u8, number: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![0xda, 0xbb, flags, 20, 0, 0, 0, 0, 0, 0, 0, number];
        message.extend((body.len() as u32).to_be_bytes());
        message.extend(body);
        message
    }

    #[tokio::test]
    async fn an_answer_is_the_one_to_the_question() {
        let beside = [message(0xe2, 9, b"N"), message(0x02, 9, b"\x95"), message(0x02, 1, b"\x91H\x01aTZ")].concat();
        let (subject, place) = somebody(beside, false).await;
        let mut interviews = Interviews::new();
        interviews.ask(subject.clone(), vec![Ok(place.clone())]);
        interviews.ask(subject.clone(), vec![Ok(place)]);
        let Answer { subject: of, said } = interviews.answered().await;
        assert_eq!((of, said), (subject, Ok(br#"{"a":true}"#.to_vec())));
        assert!(interviews.asked.is_empty() && interviews.heard.is_empty(), "it is asked once");
    }

    #[tokio::test]
    async fn who_does_not_answer_costs_himself_and_is_left_alone_for_a_while() {
        for (bytes, stays, expected) in [
            (message(0x02, 1, b"\x95"), false, "has no metadata of that revision"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), false, "does not speak Dubbo's protocol"),
            (message(0x02, 1, b"\x91")[..12].to_vec(), false, "cannot read the answer"),
            ([&message(0x02, 1, &[0x91; 40])[..], &[]].concat()[..30].to_vec(), false, "in the middle of its answer"),
            (message(0x17, 1, b"\x91"), false, "serialization 23"),
            (message(0x02, 1, &[0x79; 100_000]), false, "is not understood"),
        ] {
            let (subject, place) = somebody(bytes, stays).await;
            let mut interviews = Interviews::new();
            interviews.ask(subject.clone(), vec![Ok(place.clone())]);
            let answer = interviews.answered().await;
            let why = answer.said.unwrap_err();
            assert!(why.contains(expected), "{why}, not {expected}");
            interviews.ask(subject, vec![Ok(place)]);
            let again = interviews.heard.pop().expect("it is said at once");
            assert_eq!(again.said, Err(why));
        }
    }

    #[tokio::test]
    async fn who_hangs_or_never_ends_is_given_up_and_another_is_asked() {
        let mut endless = message(0xe2, 9, b"N");
        endless.extend(message(0x02, 1, &[b'x'; 1000])[..200].to_vec());
        let (subject, hanging) = somebody(Vec::new(), true).await;
        let (_, endless) = somebody(endless, true).await;
        let (_, honest) = somebody(message(0x02, 1, b"\x91HZ"), true).await;
        let mut interviews = Interviews { time: Duration::from_secs(1), ..Interviews::new() };
        let places = vec![Ok(hanging.clone()), Err("it says no port".into()), Ok(endless), Ok(honest.clone())];
        interviews.ask(subject.clone(), places.clone());
        let why = interviews.answered().await.said.unwrap_err();
        assert!(why.contains("no answer within 1 s"), "{why}");
        // The next turn begins with another.
        interviews.failed.values_mut().for_each(|failure| failure.until = Instant::now());
        interviews.ask(subject, places);
        assert_eq!(interviews.answered().await.said, Ok(b"{}".to_vec()));
    }

    #[tokio::test]
    async fn who_answers_for_another_application_keeps_nobody_from_being_asked() {
        let (subject, liar) = somebody(message(0x02, 1, b"\x91H\x03app\x05otherZ"), true).await;
        let (_, honest) = somebody(message(0x02, 1, b"\x91H\x03app\x04shopZ"), true).await;
        let mut interviews = Interviews::new();
        interviews.ask(subject.clone(), vec![Ok(liar.clone()), Ok(honest)]);
        assert_eq!(interviews.answered().await.said, Ok(br#"{"app":"shop"}"#.to_vec()));
        assert!(interviews.failed.is_empty());
        // Alone it has failed, so that it is asked later each time.
        interviews.ask(subject.clone(), vec![Ok(liar)]);
        let why = interviews.answered().await.said.unwrap_err();
        assert!(why.contains("its metadata says that it is of application \"other\""), "{why}");
        assert_eq!(interviews.failed[&subject].times, 1);
    }
}
