//! Binding and ending.

use super::*;

#[tokio::test]
async fn a_taken_port_is_named_with_the_remedy() {
    let admin = Running::good().await;
    let address = admin.url.trim_start_matches("http://");
    let again =
        Server::bind(address.parse().unwrap(), protection(), admin.fake.clone(), Arc::new(telemetry::registry())).await;
    let error = again.unwrap_err().to_string();
    assert!(error.contains(address) && error.contains("admin.listen"), "{error}");
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_though_a_connection_is_open() {
    let fake = Running::good().await.fake.clone();
    let metrics = Arc::new(telemetry::registry());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), protection(), fake, metrics).await.unwrap();
    let idle = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("it ends in time").unwrap();
    drop(idle);
}
