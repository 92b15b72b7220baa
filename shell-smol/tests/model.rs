//! Model calls over real sockets, against a real server on loopback.

mod support;

use futures_lite::future::block_on;
use openpista_core::digest::Digest;
use openpista_core::effect::model::{CallModel, Finish, ModelFault, Reply};
use openpista_core::effect::{Chunk, Outcome, Recovery};
use openpista_core::id::{Seq, SessionId, TurnId};
use openpista_core::message::{Entry, Message, Prompt, ToolSpec};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::model::{Choice, Endpoint, Models, Provider, resolve};
use openpista_shell_smol::secret::Secret;
use std::convert::Infallible;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::server::{Answer, Request, Server, stop_chunk, text_chunk};

/// Long enough that only a real hang reaches it.
const LONG_MS: u64 = 60_000;

fn prompt(text: &str) -> Prompt {
    let tool = ToolSpec {
        name: "system.run".into(),
        description: "Runs a command.".into(),
        parameters: r#"{"type":"object","properties":{"command":{"type":"string"}}}"#.into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: None,
    };
    Prompt {
        model: "test-model".into(),
        system: "Be brief.".into(),
        tools: Arc::new([tool]),
        messages: vec![Entry::new(Message::User { text: text.into() })],
        shown: 0,
    }
}

fn call(timeout_ms: u64) -> CallModel {
    CallModel {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(2)),
        round: 1,
        prompt: Digest::of(&[]),
        timeout_ms,
    }
}

fn provider(base_url: String, key: Option<&str>) -> Provider {
    Provider {
        name: "custom".into(),
        model: "test-model".into(),
        endpoint: Endpoint::Http {
            base_url,
            key: key.map(Secret::new),
            headers: Vec::new(),
        },
    }
}

fn models(server: &Server) -> Models {
    Models::new(provider(server.base_url(), None), 100_000).expect("a usable provider")
}

/// Asks once, with nobody to stop it.
fn ask(models: &Models) -> Result<Reply, ModelFault> {
    ask_for(models, LONG_MS).0
}

/// Asks once, and gives the words that were shown meanwhile.
fn ask_for(models: &Models, timeout_ms: u64) -> (Result<Reply, ModelFault>, Vec<String>) {
    let (_alive, closed) = async_channel::bounded::<Infallible>(1);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let shown = shown.clone();
        move |chunk| match chunk {
            Chunk::Text(text) | Chunk::Output(text) => shown.lock().unwrap().push(text),
        }
    };
    let (call, prompt) = (call(timeout_ms), prompt("hello"));
    let stop = Stop::when_closed(closed);
    let outcome = block_on(models.call(&call, &prompt, stop, progress));
    let shown = shown.lock().unwrap().clone();
    (result(outcome), shown)
}

fn result(outcome: Outcome) -> Result<Reply, ModelFault> {
    match outcome {
        Outcome::Model(result) => result,
        other => panic!("a model call came to {other:?}"),
    }
}

/// Asks a server that gives every request the same answer.
fn ask_server(answer: Answer) -> Result<Reply, ModelFault> {
    let server = Server::start(move |_| answer.clone());
    ask(&models(&server))
}

fn calls_of(reply: &Reply) -> Vec<(&str, &str)> {
    let calls = reply.calls.iter();
    calls
        .map(|call| (call.tool.as_str(), call.arguments.as_str()))
        .collect()
}

#[test]
fn a_text_is_streamed() {
    let server = Server::start(|_| Answer::text("Good day to you."));
    let (reply, shown) = ask_for(&models(&server), LONG_MS);
    let reply = reply.expect("a reply");
    assert_eq!(reply.text, "Good day to you.");
    assert_eq!(reply.finish, Finish::Stop);
    assert_eq!(shown.concat(), "Good day to you.");
}

#[test]
fn words_are_shown_before_the_reply_is_whole() {
    let server = Server::start(|_| Answer::events([text_chunk("first").as_str()]).then_hang());
    let models = models(&server);
    let (_alive, closed) = async_channel::bounded::<Infallible>(1);
    let (send, shown) = async_channel::unbounded();
    let (call, prompt) = (call(LONG_MS), prompt("hello"));
    let progress = move |chunk| send.try_send(chunk).expect("the test listens");
    let asking = async {
        models
            .call(&call, &prompt, Stop::when_closed(closed), progress)
            .await;
        panic!("the reply never ends");
    };
    let seeing = async { shown.recv().await.expect("a chunk") };
    let seen = block_on(futures_lite::future::or(asking, seeing));
    assert_eq!(seen, Chunk::Text("first".into()));
}

#[test]
fn the_request_is_a_chat_completion() {
    let server = Server::start(|_| Answer::text("ok"));
    let models = Models::new(provider(server.base_url(), Some("sk-test-key-1")), 1000).unwrap();
    ask(&models).expect("a reply");
    let request = server.requests().remove(0);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(
        request.header("authorization"),
        Some("Bearer sk-test-key-1")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.wants_stream());
    assert_eq!(request.last("user").as_deref(), Some("hello"));
    assert_eq!(request.json()["model"], "test-model");
}

#[test]
fn without_a_key_none_is_sent() {
    let server = Server::start(|_| Answer::text("ok"));
    ask(&models(&server)).expect("a reply");
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[test]
fn parallel_calls_arrive_streamed_and_whole() {
    let wanted = [
        ("system.run", r#"{"command":"echo äöü"}"#),
        ("system.run", r#"{"command":"true"}"#),
    ];
    let answer = Answer::calls(wanted).saying("Let me see.");
    for answer in [answer.clone(), answer.whole()] {
        let reply = ask_server(answer).expect("a reply");
        assert_eq!(reply.text, "Let me see.");
        assert_eq!(calls_of(&reply), wanted);
        assert_ne!(reply.calls[0].id, reply.calls[1].id);
    }
}

#[test]
fn a_whole_text_is_understood() {
    let reply = ask_server(Answer::text("All at once.").whole()).expect("a reply");
    assert_eq!(reply.text, "All at once.");
    assert_eq!(reply.usage.completion, 5);
}

#[test]
fn connections_are_kept() {
    let server = Server::start(|_| Answer::text("ok"));
    let models = models(&server);
    for _ in 0..3 {
        ask(&models).expect("a reply");
    }
    assert_eq!((server.count(), server.connections()), (3, 1));
}

#[test]
fn a_kept_connection_that_the_server_closed_costs_one_retry_at_most() {
    let server = Server::start(|_| Answer::text("ok").then_close());
    let models = models(&server);
    ask(&models).expect("a reply");
    match ask(&models) {
        Ok(_) => {}
        Err(ModelFault::Network { .. }) => {
            ask(&models).expect("a new connection");
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn too_many_requests_pass_on_how_long_to_wait() {
    let answer = Answer::error(429, "Slow down, please.").header("Retry-After", "7");
    let expected = ModelFault::RateLimited {
        retry_after_ms: Some(7000),
        message: "Slow down, please.".into(),
    };
    assert_eq!(ask_server(answer), Err(expected));
}

#[test]
fn trouble_of_the_server_is_told_in_its_words() {
    let expected = ModelFault::Server {
        status: 500,
        message: "The engine is on fire.".into(),
    };
    assert_eq!(
        ask_server(Answer::error(500, "The engine is on fire.")),
        Err(expected)
    );
}

#[test]
fn a_refusal_is_told_in_the_providers_words() {
    let expected = ModelFault::Rejected {
        status: 401,
        message: "Incorrect API key provided.".into(),
    };
    assert_eq!(
        ask_server(Answer::error(401, "Incorrect API key provided.")),
        Err(expected)
    );
}

#[test]
fn the_status_counts_when_its_explanation_breaks_off() {
    let fault = ask_server(Answer::error(503, "too busy").then_break());
    assert!(
        matches!(fault, Err(ModelFault::Server { status: 503, .. })),
        "{fault:?}"
    );
}

#[test]
fn an_echoed_key_is_not_told() {
    let server = Server::start(|request: &Request| {
        let key = request.header("authorization").unwrap_or_default();
        Answer::error(401, &format!("Incorrect key: {key}"))
    });
    let models = Models::new(provider(server.base_url(), Some("sk-canary-12345")), 1000).unwrap();
    let told = format!("{:?}", ask(&models));
    assert!(told.contains("Incorrect key: Bearer"), "{told}");
    assert!(!told.contains("canary"), "{told}");
    assert!(!format!("{models:?}").contains("canary"));
}

#[test]
fn an_empty_success_is_empty() {
    let stream = || Answer::events([]);
    for answer in [Answer::body(""), stream(), Answer::events(["[DONE]"])] {
        assert_eq!(
            ask_server(answer.clone()),
            Err(ModelFault::Empty),
            "{answer:?}"
        );
    }
}

#[test]
fn garbage_is_garbled() {
    let page = Answer::body("<html><title>Welcome</title></html>");
    let broken = Answer::body(r#"{"choices":[{"mess"#);
    let stream = Answer::events([r#"{"choices":[{"delta"#]);
    for answer in [page, broken, stream] {
        let fault = ask_server(answer.clone());
        assert!(
            matches!(fault, Err(ModelFault::Garbled { .. })),
            "{answer:?}: {fault:?}"
        );
    }
}

#[test]
fn what_is_not_http_is_garbled() {
    let fault = ask_server(Answer::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    assert!(
        matches!(fault, Err(ModelFault::Garbled { .. })),
        "{fault:?}"
    );
}

#[test]
fn an_error_inside_a_stream_is_found() {
    let error = r#"{"error":{"message":"The model crashed.","type":"server_error"}}"#;
    let fault = ask_server(Answer::events([text_chunk("So").as_str(), error, "[DONE]"]));
    let expected = ModelFault::Server {
        status: 200,
        message: "The model crashed.".into(),
    };
    assert_eq!(fault, Err(expected));
}

#[test]
fn a_stream_that_stalls_times_out() {
    let server = Server::start(|_| Answer::events([text_chunk("So").as_str()]).then_hang());
    let models = models(&server).with_idle(Duration::from_millis(50));
    let (alive, closed) = async_channel::bounded::<Infallible>(1);
    // Were the stall not seen, the call would end as stopped.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(20));
        alive.close();
    });
    let (call, prompt) = (call(u64::MAX), prompt("hello"));
    let outcome = block_on(models.call(&call, &prompt, Stop::when_closed(closed), |_| {}));
    assert_eq!(result(outcome), Err(ModelFault::TimedOut));
}

#[test]
fn a_server_that_never_answers_meets_the_deadline() {
    let server = Server::start(|_| Answer::silence());
    assert_eq!(ask_for(&models(&server), 50).0, Err(ModelFault::TimedOut));
}

#[test]
fn a_slow_beginning_is_no_stall() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(200));
        Answer::text("At last.").pausing(Duration::from_millis(200))
    });
    let models = models(&server).with_idle(Duration::from_millis(50));
    assert_eq!(ask(&models).expect("a reply").text, "At last.");
}

#[test]
fn any_timeout_can_be_asked_for() {
    let server = Server::start(|_| Answer::text("ok"));
    let models = models(&server).with_idle(Duration::MAX);
    assert_eq!(ask_for(&models, u64::MAX).0.expect("a reply").text, "ok");
}

#[test]
fn a_stream_that_breaks_off_is_no_reply() {
    let fault = ask_server(Answer::events([text_chunk("So").as_str()]).then_break());
    assert!(
        matches!(fault, Err(ModelFault::Network { .. })),
        "{fault:?}"
    );
}

#[test]
fn a_finished_reply_needs_no_proper_end() {
    let (text, stop) = (text_chunk("So it is."), stop_chunk());
    let whole = Answer::events([text.as_str(), stop.as_str()]).then_break();
    assert_eq!(ask_server(whole).expect("a reply").text, "So it is.");
    let open = Answer::events([text.as_str(), stop.as_str(), "[DONE]"]).then_hang();
    assert_eq!(ask_server(open).expect("a reply").text, "So it is.");
}

#[test]
fn a_connection_closed_without_a_word_is_told() {
    let fault = ask_server(Answer::nothing());
    let Err(ModelFault::Network { message }) = fault else {
        panic!("{fault:?}");
    };
    assert!(message.contains("closed the connection"), "{message}");
}

#[test]
fn a_server_that_is_down_is_named() {
    let base_url = Server::start(|_| Answer::nothing()).base_url();
    let models = Models::new(provider(base_url.clone(), None), 1000).unwrap();
    let fault = ask(&models);
    let Err(ModelFault::Network { message }) = fault else {
        panic!("{fault:?}");
    };
    let host = base_url
        .trim_start_matches("http://")
        .trim_end_matches("/v1");
    assert_eq!(
        message,
        format!("{host} refused the connection: is the server running there?")
    );
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(|_| Answer::text("stolen"));
    let to = format!("{}/chat/completions?key=1", elsewhere.base_url());
    let answer = Answer::body("").status(307).header("Location", &to);
    let fault = ask_server(answer);
    let Err(ModelFault::Rejected {
        status: 307,
        message,
    }) = fault
    else {
        panic!("{fault:?}");
    };
    assert!(message.contains(&elsewhere.base_url()), "{message}");
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_stop_in_the_middle_ends_the_call() {
    let server = Server::start(|_| Answer::events([text_chunk("So").as_str()]).then_hang());
    let models = models(&server);
    let (alive, closed) = async_channel::bounded::<Infallible>(1);
    // The first words are the event upon which the call is stopped.
    let progress = move |_| {
        alive.close();
    };
    let (call, prompt) = (call(LONG_MS), prompt("hello"));
    let outcome = block_on(models.call(&call, &prompt, Stop::when_closed(closed), progress));
    assert_eq!(result(outcome), Err(ModelFault::Cancelled));
}

#[test]
fn a_stop_while_nothing_is_answered_ends_the_call() {
    let server = Arc::new(Server::start(|_| Answer::silence()));
    let models = models(&server);
    let (alive, closed) = async_channel::bounded::<Infallible>(1);
    let watching = server.clone();
    std::thread::spawn(move || {
        watching.wait_for(1);
        alive.close();
    });
    let (call, prompt) = (call(LONG_MS), prompt("hello"));
    let outcome = block_on(models.call(&call, &prompt, Stop::when_closed(closed), |_| {}));
    assert_eq!(result(outcome), Err(ModelFault::Cancelled));
}

#[test]
fn a_call_that_is_stopped_before_it_begins_sends_nothing() {
    let server = Server::start(|_| Answer::text("too late"));
    let (alive, closed) = async_channel::bounded::<Infallible>(1);
    alive.close();
    let (call, prompt) = (call(LONG_MS), prompt("hello"));
    let models = models(&server);
    let outcome = block_on(models.call(&call, &prompt, Stop::when_closed(closed), |_| {}));
    assert_eq!(result(outcome), Err(ModelFault::Cancelled));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_slash_at_the_end_of_base_url_changes_nothing() {
    let server = Server::start(|_| Answer::text("ok"));
    for end in ["", "/", "//", "/chat/completions", "/chat/completions/"] {
        let base_url = format!("{}{end}", server.base_url());
        ask(&Models::new(provider(base_url, None), 1000).unwrap()).expect("a reply");
    }
    let paths: Vec<String> = server.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/v1/chat/completions"; 5]);
}

#[test]
fn a_reply_beyond_its_bound_is_cut() {
    let server = Server::start(|_| Answer::text("word ".repeat(10_000)));
    let models = Models::new(provider(server.base_url(), None), 1000).unwrap();
    let reply = ask(&models).expect("the beginning");
    assert_eq!((reply.text.len(), reply.finish), (1000, Finish::Length));
}

#[test]
fn many_calls_run_at_once() {
    let server =
        Server::start(|request: &Request| Answer::text(request.last("user").unwrap_or_default()));
    let models = Arc::new(models(&server));
    let ask = |number: usize| {
        let models = models.clone();
        smol::spawn(async move {
            let (_alive, closed) = async_channel::bounded::<Infallible>(1);
            let (call, prompt) = (call(LONG_MS), prompt(&number.to_string()));
            let stop = Stop::when_closed(closed);
            result(models.call(&call, &prompt, stop, |_| {}).await)
        })
    };
    let asking: Vec<_> = (0..50).map(ask).collect();
    for (number, asked) in asking.into_iter().enumerate() {
        assert_eq!(block_on(asked).expect("a reply").text, number.to_string());
    }
}

#[test]
fn a_server_is_asked_for_its_first_model_that_chats() {
    let list = r#"{"data":[{"id":"nomic-embed-text"},{"id":"llama:8b"},{"id":"other"}]}"#;
    let server = Server::start(move |_| Answer::body(list));
    let choice = Choice {
        base_url: Some(server.base_url()),
        ..Choice::default()
    };
    let env = |name: &str| (name == "OPENPISTACRAB_API_KEY").then(|| "sk-test-key-1".to_owned());
    let found = resolve(&choice, &env).expect("a provider");
    assert_eq!(found.model, "llama:8b");
    let request = server.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("GET", "/v1/models")
    );
    assert_eq!(
        request.header("authorization"),
        Some("Bearer sk-test-key-1")
    );
}

#[test]
fn a_key_that_cannot_be_sent_is_refused_without_telling_it() {
    let server = Server::start(|_| Answer::nothing());
    let models = Models::new(provider(server.base_url(), Some("sk-ca\nnary")), 1000);
    let error = models.expect_err("a line break in a key").to_string();
    assert!(error.contains("key") && !error.contains("nary"), "{error}");
}

#[test]
fn a_plain_server_behind_https_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base_url = format!("https://{}/v1", listener.local_addr().expect("its port"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("an open connection");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let fault = ask(&Models::new(provider(base_url, None), 1000).unwrap());
    let Err(ModelFault::Network { message }) = fault else {
        panic!("{fault:?}");
    };
    let start = "the secure connection to 127.0.0.1:";
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let base_url = "http://no-such-host.invalid/v1".to_owned();
    let fault = ask(&Models::new(provider(base_url, None), 1000).unwrap());
    let Err(ModelFault::Network { message }) = fault else {
        panic!("{fault:?}");
    };
    assert!(message.contains("no-such-host.invalid"), "{message}");
}
