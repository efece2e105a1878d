//! A server in this process that gives a list by HTTP: a text that tests change, with faults on order.

use super::fault::{self, Answer, Fault};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the server gives.
#[derive(Default)]
pub struct Model {
    /// Body of the answers.
    pub text: String,
    /// `ETag` of the text; `None` sends none.
    pub tag: Option<String>,
    /// Every request gets status 304, also one without `If-None-Match`.
    pub always_known: bool,
    /// What `Authorization` must say, otherwise the answer is 401. `None` if it may be missing.
    pub authorization: Option<String>,
    /// Clients that accept gzip get it.
    pub gzip: bool,
    /// Status and `Location` of the redirect that every request gets.
    pub moved: Option<(u16, String)>,
    /// Faults by a part of the path; the first that matches counts.
    pub faults: Vec<(String, Fault)>,
    /// `If-None-Match` of each request that got no fault; `None` where it was missing.
    pub log: Vec<Option<String>>,
}

/// A server; ends with the value.
pub struct FakeHttp {
    /// Address of the server, on 127.0.0.1.
    pub address: SocketAddr,
    model: Arc<Mutex<Model>>,
    task: JoinHandle<()>,
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeHttp {
    /// Starts one on a free port that gives this text.
    pub async fn start(text: &str) -> FakeHttp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Arc::new(Mutex::new(Model { text: text.into(), ..Model::default() }));
        let router = Router::new().fallback(handle).with_state(model.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        FakeHttp { address, model, task }
    }

    /// The state of the server, to be read or changed.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }
}

async fn handle(State(model): State<Arc<Mutex<Model>>>, request: Request) -> Answer {
    let said = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let fault = fault::take(&mut model.lock().unwrap().faults, request.uri().path());
    if let Some(fault) = fault {
        return fault.answer().await;
    }
    let mut model = model.lock().unwrap();
    let known = said(header::IF_NONE_MATCH);
    model.log.push(known.clone());
    let status = |code: StatusCode| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = code;
        answer
    };
    if model.authorization.is_some() && said(header::AUTHORIZATION) != model.authorization {
        return status(StatusCode::UNAUTHORIZED);
    }
    if let Some((code, there)) = &model.moved {
        let mut answer = status(StatusCode::from_u16(*code).unwrap());
        answer.headers_mut().insert(header::LOCATION, there.parse().unwrap());
        return answer;
    }
    if model.always_known || (known.is_some() && known == model.tag) {
        return status(StatusCode::NOT_MODIFIED);
    }
    let mut answer = Response::new(Body::from(model.text.clone()));
    if model.gzip && said(header::ACCEPT_ENCODING).is_some_and(|takes| takes.contains("gzip")) {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(model.text.as_bytes()).unwrap();
        answer = Response::new(Body::from(gzip.finish().unwrap()));
        answer.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    }
    if let Some(tag) = &model.tag {
        answer.headers_mut().insert(header::ETAG, tag.parse().unwrap());
    }
    answer
}
