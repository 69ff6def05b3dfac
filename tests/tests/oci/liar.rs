//! Registries that do not mean well, played by the test: what they send is bounded, in bytes and in time, and they
//! learn nothing that is not for them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use podwire_tests::command::write_file;
use podwire_tests::registry::openssl;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Bench, HOSTILE, digest};

/// What was asked: the request's lines.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers every request at this address with what `answer` writes, until the test ends.
fn play(address: &str, answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> Asked {
    let listener = TcpListener::bind(address).expect("the node's loopback is its own");
    let asked = Asked::default();
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("the listener stays");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
            heard.lock().expect("nobody panics with it").push(request.clone());
            answer(&request, &mut stream);
        }
    });
    asked
}

/// Whoever hangs up has heard enough.
fn say(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok();
}

/// Goes on until the other side has heard enough.
fn say_without_end(stream: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n";
    let mut sent = stream.write_all(head.as_bytes());
    while sent.is_ok() {
        sent = stream.write_all(&[b' '; 1 << 16]);
    }
}

fn manifest(size: usize) -> Vec<u8> {
    let layer = json!({ "mediaType": "application/wasm", "digest": digest(HOSTILE), "size": size });
    let config = json!({
        "mediaType": "application/vnd.wasm.config.v0+json", "size": 2,
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] });
    manifest.to_string().into_bytes()
}

fn component() -> Vec<u8> {
    std::fs::read(HOSTILE).expect("it is there")
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let Some(bench) = Bench::new() else { return };
    play("127.0.0.1:1", |_, stream| say_without_end(stream));
    bench.assert_refused("oci://127.0.0.1:1/a", &[], &["sent more than the 4194304 bytes", "manifest"]);
    play("127.0.0.1:2", |request, stream| match request.contains("/blobs/") {
        true => say_without_end(stream),
        false => say(stream, "200 OK", &manifest(component().len())),
    });
    let limit = format!("sent more than the {} bytes", component().len());
    bench.assert_refused("oci://127.0.0.1:2/a", &[], &[&limit, "the blob sha256:"]);
    let asked = play("127.0.0.1:3", |_, stream| say(stream, "200 OK", &manifest((64 << 20) + 1)));
    bench.assert_refused("oci://127.0.0.1:3/a", &[], &["too large", "64 MiB at most"]);
    assert_eq!(asked.lock().expect("it ended").len(), 1, "the component is not even asked for");
}

#[test]
fn a_silent_registry_is_left_in_time() {
    let Some(bench) = Bench::new() else { return };
    let held = Mutex::new(Vec::new());
    play("127.0.0.1:1", move |_, stream| {
        held.lock().expect("nobody panics with it").push(stream.try_clone().expect("a socket can be shared"));
    });
    let words = ["the registry 127.0.0.1:1 was not done after 1 s", "--timeout"];
    bench.assert_refused("oci://127.0.0.1:1/a", &["--timeout", "1"], &words);
}

/// With a password for the registry 127.0.0.1:1: the bench, and the password in base64.
fn logged_in(bench: Bench) -> (Bench, String) {
    write_file("/run/plain", "pusher:sesame");
    let auth = String::from_utf8(openssl(&["base64", "-A", "-in", "/run/plain"])).expect("base64 is text");
    write_file("/run/config.json", json!({ "auths": { "127.0.0.1:1": { "auth": auth } } }).to_string());
    (bench.with(&["DOCKER_CONFIG=/run"]), auth)
}

/// Requests as one text, in small letters.
fn text(asked: &Asked) -> String {
    asked.lock().expect("it ended").join("\n\n").to_lowercase()
}

/// Panics unless that was asked for, by somebody who did not say who he is.
#[track_caller]
fn assert_anonymous(asked: &Asked, what: &str) {
    let text = text(asked);
    assert!(text.contains(what) && !text.contains("authorization"), "{text}");
}

#[test]
fn a_token_is_fetched_from_where_the_registry_says() {
    let Some(bench) = Bench::new() else { return };
    let (bench, auth) = logged_in(bench);
    let given = play("127.0.0.1:2", |_, stream| say(stream, "200 OK", br#"{"token":"t0ken"}"#));
    let served = play("127.0.0.1:1", |request, stream| {
        let challenge = r#"WWW-Authenticate: Bearer realm="http://127.0.0.1:2/token",service="r""#;
        match request.to_lowercase().contains("authorization: bearer t0ken") {
            false => say(stream, &format!("401 Unauthorized\r\n{challenge}"), b""),
            true if request.contains("/blobs/") => {
                say(stream, "307 Elsewhere\r\nLocation: http://127.0.0.1:3/b", b"")
            }
            true => say(stream, "200 OK", &manifest(component().len())),
        }
    });
    let elsewhere = play("127.0.0.1:3", |_, stream| say(stream, "200 OK", &component()));
    bench.install("oci://127.0.0.1:1/team/hostile:1", &[]);
    let token = text(&given);
    assert!(token.starts_with("get /token?scope=repository%3ateam%2fhostile%3apull&service=r "), "{token}");
    assert!(token.contains(&format!("authorization: basic {auth}").to_lowercase()), "{token}");
    assert_eq!(served.lock().expect("it ended").len(), 3, "once in vain, then the manifest and the blob");
    assert_anonymous(&elsewhere, "get /b ");
}

/// Where a registry keeps its blobs is not the registry.
#[test]
fn whoever_else_wants_to_know_who_asks_is_not_told() {
    let Some(bench) = Bench::new() else { return };
    let (bench, auth) = logged_in(bench);
    let served = play("127.0.0.1:1", |request, stream| {
        match request.to_lowercase().contains("authorization: basic") {
            false => say(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"", b""),
            true if request.contains("/blobs/") => {
                say(stream, "307 Elsewhere\r\nLocation: http://127.0.0.1:2/b", b"")
            }
            true => say(stream, "200 OK", &manifest(component().len())),
        }
    });
    let elsewhere = play("127.0.0.1:2", |_, stream| {
        say(stream, "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:3/token\"", b"")
    });
    let thief = play("127.0.0.1:3", |_, stream| say(stream, "200 OK", br#"{"token":"t0ken"}"#));
    bench.assert_refused("oci://127.0.0.1:1/a", &[], &["wants to know who asks"]);
    assert!(text(&served).contains(&format!("authorization: basic {auth}").to_lowercase()));
    assert_anonymous(&elsewhere, "get /b ");
    assert_eq!(text(&thief), "", "it is not even asked");
}

#[test]
fn an_upload_that_goes_elsewhere_tells_nobody_who_asks() {
    let Some(bench) = Bench::new() else { return };
    let (bench, auth) = logged_in(bench);
    let served = play("127.0.0.1:1", |request, stream| {
        match request.to_lowercase().contains("authorization: basic") {
            false => say(stream, "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"", b""),
            true if request.starts_with("HEAD") => say(stream, "404 Not Found", b""),
            true if request.starts_with("POST") => {
                say(stream, "202 Go On\r\nLocation: http://127.0.0.1:10/up?a=b", b"")
            }
            true => say(stream, "201 Created", b""),
        }
    });
    let elsewhere = play("127.0.0.1:10", |_, stream| say(stream, "201 Created", b""));
    bench.push(HOSTILE, "oci://127.0.0.1:1/team/tenant:1", &[]);
    assert!(text(&served).contains(&format!("authorization: basic {auth}").to_lowercase()));
    assert_anonymous(&elsewhere, &format!("put /up?a=b&digest={} ", digest(HOSTILE)));
}

#[test]
fn a_registrys_own_words_are_told_on_one_line() {
    let Some(bench) = Bench::new() else { return };
    let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"later,\nplease"}]}"#;
    play("127.0.0.1:1", |_, stream| say(stream, "429 Too Many Requests", body));
    let words = [
        "refused the manifest of oci://127.0.0.1:1/a:latest",
        "429 Too Many",
        r#""TOOMANYREQUESTS: later,\nplease""#,
    ];
    bench.assert_refused("oci://127.0.0.1:1/a", &[], &words);
    play("127.0.0.1:2", |_, stream| say(stream, "302 Found\r\nLocation: /v2/", b""));
    bench.assert_refused("oci://127.0.0.1:2/a", &[], &["127.0.0.1:2", "too many redirects"]);
    play("127.0.0.1:3", |_, stream| drop(stream.write_all(b"220 mail.test ESMTP\r\n")));
    bench.assert_refused("oci://127.0.0.1:3/a", &[], &["the registry 127.0.0.1:3 cannot be reached"]);
}

#[test]
fn what_is_sent_by_another_digest_is_refused() {
    let Some(bench) = Bench::new() else { return };
    play("127.0.0.1:1", |_, stream| say(stream, "200 OK", &manifest(component().len())));
    let hex =
        Sha256::digest(b"another manifest").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let pinned = format!("oci://127.0.0.1:1/a@sha256:{hex}");
    bench.assert_refused(&pinned, &[], &["sent something else than the manifest", &pinned]);
}
