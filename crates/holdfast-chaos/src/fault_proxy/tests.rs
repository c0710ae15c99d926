//! The proxy before a server that echoes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use holdfast_e2e::wait;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(200);

fn proxy() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    FaultProxy::start(address).unwrap()
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

fn dial(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn say(stream: &mut TcpStream, words: &str) -> String {
    stream.write_all(words.as_bytes()).unwrap();
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

fn is_quiet(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let quiet = stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    quiet
}

#[test]
fn an_honest_proxy_carries_both_ways_and_counts() {
    let proxy = proxy();
    let mut stream = dial(&proxy);
    assert_eq!(say(&mut stream, "hello"), "hello");
    assert_eq!((proxy.dials().len(), proxy.open()), (1, 1));
    assert_eq!(proxy.carried(Direction::ToServer), 5);
    drop(stream);
    wait::until("the end", LIMIT, || Ok((proxy.open() == 0).then_some(()))).unwrap();
    assert_eq!(proxy.left().len(), 1);
}

#[test]
fn a_cut_is_a_reset_or_an_end_as_asked() {
    let proxy = proxy();
    let mut stream = dial(&proxy);
    say(&mut stream, "hello");
    proxy.cut(Cut::Rst);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut stream = dial(&proxy);
    say(&mut stream, "hello");
    proxy.cut(Cut::Fin);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_blackhole_holds_up_one_way_and_gives_back_what_it_held() {
    let proxy = proxy();
    let mut stream = dial(&proxy);
    say(&mut stream, "hello");
    proxy.change(|faults| faults.to_agent.blackhole = true);
    stream.write_all(b"again").unwrap();
    let carried = || (proxy.carried(Direction::ToServer) == 10).then_some(());
    wait::until("the way to the server", LIMIT, || Ok(carried())).unwrap();
    assert!(is_quiet(&mut stream));
    proxy.heal();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"again");
}

#[test]
fn an_end_does_not_get_through_a_blackhole_but_is_seen_by_the_proxy() {
    let proxy = proxy();
    let mut stream = dial(&proxy);
    say(&mut stream, "hello");
    proxy.blackhole();
    drop(stream);
    wait::until("its end", LIMIT, || Ok((proxy.left().len() == 1).then_some(()))).unwrap();
    assert_eq!(proxy.open(), 1);
    proxy.heal();
    wait::until("the end", LIMIT, || Ok((proxy.open() == 0).then_some(()))).unwrap();
}

#[test]
fn a_cut_at_a_byte_lets_exactly_those_before_it_through() {
    let proxy = proxy();
    for how in [Cut::Fin, Cut::Rst] {
        proxy.change(|faults| faults.to_agent.cut_after = Some((3, how)));
        let mut stream = dial(&proxy);
        stream.write_all(b"hello").unwrap();
        let mut heard = Vec::new();
        let ended = stream.read_to_end(&mut heard);
        assert_eq!(ended.is_err(), how == Cut::Rst, "{ended:?}");
        // A reset may overtake what was sent before it.
        assert!(heard == b"hel" || how == Cut::Rst && heard.is_empty(), "{heard:?}");
    }
}

#[test]
fn bytes_can_be_wrong_or_come_twice() {
    let proxy = proxy();
    for (tamper, heard) in [(Tamper::Corrupt, "heLlo"), (Tamper::Duplicate, "helll")] {
        proxy.change(|faults| faults.to_agent.tamper = Some((2, tamper)));
        let mut stream = dial(&proxy);
        assert_eq!(say(&mut stream, "hello"), heard);
    }
}

#[test]
fn a_door_can_be_shut_and_opened_again() {
    let proxy = proxy();
    proxy.welcome(Welcome::Refuse).unwrap();
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.welcome(Welcome::Drop).unwrap();
    // The end of a connection nobody wrote to is a plain end.
    assert_eq!(dial(&proxy).read(&mut [0]).unwrap(), 0);
    proxy.welcome(Welcome::Carry).unwrap();
    assert_eq!(say(&mut dial(&proxy), "hello"), "hello");
}

#[test]
fn a_slow_way_takes_its_time() {
    let proxy = proxy();
    proxy.change(|faults| faults.to_agent.bytes_per_second = Some(100));
    let mut stream = dial(&proxy);
    let started = Instant::now();
    say(&mut stream, &"x".repeat(50));
    assert!(started.elapsed() >= Duration::from_millis(350), "{:?}", started.elapsed());
}

#[test]
fn a_long_way_is_still_wide() {
    let proxy = proxy();
    proxy.change(|faults| faults.to_agent.delay = Duration::from_millis(300));
    let mut stream = dial(&proxy);
    let started = Instant::now();
    for _ in 0..5 {
        stream.write_all(b"hello").unwrap();
        wait::pause(Duration::from_millis(10));
    }
    let mut heard = [0; 25];
    stream.read_exact(&mut heard).unwrap();
    let took = started.elapsed();
    assert!((300..1200).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn an_impatient_proxy_closes_what_is_idle() {
    let proxy = proxy();
    proxy.change(|faults| faults.idle_max = Some(QUIET));
    let mut stream = dial(&proxy);
    say(&mut stream, "hello");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_wish_for_a_websocket_can_be_lost() {
    let proxy = proxy();
    proxy.change(|faults| faults.strips_upgrade = true);
    let mut stream = dial(&proxy);
    stream.write_all(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nHost: x\r\n\r\n").unwrap();
    let mut heard = [0; 27];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}
