//! A name server in this process: what it says of which name, and what is wrong with it, tests decide. What is too long for
//! UDP it says over TCP.

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::SRV},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// The longest answer over UDP.
const LONGEST: usize = 512;

/// The records of the server, and its faults.
#[derive(Debug, Default)]
pub struct Zone {
    records: BTreeMap<(String, RecordType), Vec<RData>>,
    /// TTL of all records, in seconds.
    pub ttl: u32,
    /// Faults by a part of the question, such as `orders` or `orders.example AAAA`; the first that matches counts.
    pub bad: Vec<(String, Bad)>,
    /// Name and type of each question, such as `orders.example A`.
    pub log: Vec<String>,
}

/// What becomes of a question instead of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// No answer.
    Silent,
    /// An answer with the code SERVFAIL.
    Failed,
    /// Bytes that are no answer.
    Garbage,
}

impl Zone {
    /// Sets the A and AAAA records of a host, instead of the former ones.
    pub fn host(&mut self, name: &str, addresses: &[&str]) {
        for kind in [RecordType::A, RecordType::AAAA] {
            let of_kind = |ip: &IpAddr| ip.is_ipv4() == (kind == RecordType::A);
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).filter(of_kind);
            let records = addresses.map(|ip| match ip {
                IpAddr::V4(ip) => RData::A(ip.into()),
                IpAddr::V6(ip) => RData::AAAA(ip.into()),
            });
            self.records.insert((name.into(), kind), records.collect());
        }
    }

    /// Sets the SRV records of a name: priority, weight, port and host of each target.
    pub fn srv(&mut self, name: &str, targets: &[(u16, u16, u16, &str)]) {
        let records = targets.iter().map(|(priority, weight, port, target)| {
            RData::SRV(SRV::new(*priority, *weight, *port, Name::from_str(&format!("{target}.")).unwrap()))
        });
        self.records.insert((name.into(), RecordType::SRV), records.collect());
    }

    /// Removes all records of a name: questions for it get NXDOMAIN.
    pub fn forget(&mut self, name: &str) {
        self.records.retain(|(known, _), _| known != name);
    }

    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let name = query.name().to_utf8().trim_end_matches('.').to_lowercase();
        let asked = format!("{name} {}", query.query_type());
        let bad = self.bad.iter().find(|(part, _)| asked.contains(part.as_str())).map(|(_, bad)| *bad);
        self.log.push(asked);
        let mut answer = question.into_response();
        match bad {
            Some(Bad::Silent) => return None,
            Some(Bad::Garbage) => return Some(vec![7; 40]),
            Some(Bad::Failed) => answer.metadata.response_code = ResponseCode::ServFail,
            None if !self.records.keys().any(|(known, _)| *known == name) => {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            None => {
                for data in self.records.get(&(name, query.query_type())).into_iter().flatten() {
                    answer.add_answer(Record::from_rdata(query.name().clone(), self.ttl, data.clone()));
                }
            }
        }
        answer.to_vec().ok()
    }
}

/// Says that the answer is too long for UDP.
fn truncated(question: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Message::from_vec(question).ok()?.into_response();
    answer.metadata.truncation = true;
    answer.to_vec().ok()
}

async fn answer_by_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut bytes = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
        let question = &bytes[..length];
        let answer = zone.lock().unwrap().answer(question);
        let answer = match answer {
            Some(long) if long.len() > LONGEST => truncated(question),
            answer => answer,
        };
        if let Some(answer) = answer {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn answer_by_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(converse(stream, zone.clone()));
    }
}

/// Answers the questions of a connection until its client leaves; a length stands before each message.
async fn converse(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; length.into()];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let answer = zone.lock().unwrap().answer(&question);
        let Some(answer) = answer else { continue };
        let message = [&u16::try_from(answer.len()).unwrap().to_be_bytes()[..], &answer].concat();
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// A running server; it ends with this value.
pub struct FakeDns {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [JoinHandle<()>; 2],
}

impl FakeDns {
    /// Starts one without records, on a free port.
    pub async fn start() -> FakeDns {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Its port may be taken for TCP.
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let (address, zone) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Zone::default())));
        let tasks =
            [tokio::spawn(answer_by_udp(socket, zone.clone())), tokio::spawn(answer_by_tcp(listener, zone.clone()))];
        FakeDns { address, zone, tasks }
    }

    /// Records and faults, to be read or changed.
    pub fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
