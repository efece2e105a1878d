//! What other tests build on does what they rely on. Without what that needs these tests print `SKIP` and pass; with
//! `PORTOLAN_REAL_SERVERS=required` they fail.

mod support;

use support::netns;

#[tokio::test]
async fn a_network_of_its_own_has_an_address_that_is_no_loopback_address() {
    let name = "a_network_of_its_own_has_an_address_that_is_no_loopback_address";
    if !netns::inside(name, &[]).await {
        return;
    }
    let listener = tokio::net::TcpListener::bind((netns::ADDRESS, 20880)).await.unwrap();
    let (connected, accepted) =
        tokio::join!(tokio::net::TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    assert_eq!(connected.unwrap().local_addr().unwrap(), accepted.unwrap().1);
}
