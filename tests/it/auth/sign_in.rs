//! What each caller may do: every route by every scope, and users who try to reach each other's data by any of them.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::api::{Api, json};
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";

fn claims(user: i64, scope: &str) -> Value {
    json!({"sub": user.to_string(), "scope": scope, "exp": now() + 600})
}

fn token(user: i64, scope: &str) -> String {
    Key::secret(SECRET).token("", &claims(user, scope))
}

async fn start(cluster: &TestCluster) -> Api {
    Api::start_with(
        cluster,
        &[
            ("SHARDRIVE_AUTH_SECRET", SECRET),
            ("SHARDRIVE_COLLECTIONS", "orders:user_id:integer:many,profiles:user_id:integer,words:-:string"),
        ],
    )
    .await
}

/// A request by the caller with this token.
fn by(api: &Api, token: &str, method: Method, path: &str) -> RequestBuilder {
    api.request(method, path).bearer_auth(token)
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

/// The status and the code of the problem.
async fn refusal(request: RequestBuilder) -> (u16, String) {
    let (status, body) = json(request.send().await.unwrap()).await;
    (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let cluster = TestCluster::migrated(1).await;
    let api = start(&cluster).await;
    let (_, document) = api.get_json("/openapi.json").await;
    let callers = [("user", 1), ("service", 2), ("admin", 3)].map(|(scope, rank)| (rank, token(42, scope)));
    let nobody = token(42, "openid");
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            routes += 1;
            let needed = match operation["security"][0]["bearer"][0].as_str() {
                None => 0,
                Some("user") => 1,
                Some("service") => 2,
                Some("admin") => 3,
                Some(other) => panic!("{other}"),
            };
            let method: Method = method.to_uppercase().parse().unwrap();
            // The caller's own, where a user is named; no body, so that nothing is done.
            let real = path.replace("{user_id}", "42").replace("{userId}", "42").replace("{collection}", "orders");
            let real = real.replace("{file_id}", "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e").replace("{id}", "7");
            let real = real.replace("{key}", "019a9e4b-3f21-7c5a-9e02-7a002a5d4c1e");
            let real = if real == "/records/orders" { "/records/orders?shard_key=42".to_owned() } else { real };
            let answer = api.request(method.clone(), &real).send().await.unwrap();
            assert_eq!(answer.status() == 401, needed > 0, "{method} {real} without a token");
            if needed > 0 {
                assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"shardrive\"");
                assert_eq!(json(answer).await.1["code"], "sign_in_required");
            }
            for (rank, token) in &callers {
                let found = status(by(&api, token, method.clone(), &real)).await;
                assert_ne!(found, 401, "{method} {real} by {rank}");
                assert_eq!(found == 403, needed > *rank, "{method} {real} by {rank}: {found}");
            }
            if needed > 1 {
                assert_eq!(refusal(by(&api, &nobody, method, &real)).await, (403, "insufficient_scope".to_owned()));
            }
        }
    }
    assert!(routes >= 39, "{routes}");
    for path in ["/docs/", "/health", "/"] {
        assert_eq!(api.get(path).await.status(), 200);
    }
    assert_eq!(api.get("/nowhere").await.status(), 404);
    assert_eq!(status(by(&api, &callers[0].1, Method::HEAD, "/query/43")).await, 403);
    assert_eq!(status(by(&api, &callers[0].1, Method::HEAD, "/query/42")).await, 200);
}

#[tokio::test]
async fn files_are_reached_by_their_user_alone() {
    let cluster = TestCluster::migrated(2).await;
    let api = start(&cluster).await;
    let (alice, bob, service, admin) = (token(42, "user"), token(43, "user"), token(0, "service"), token(0, "admin"));
    let post = |token: &str, path: &str, body: Value| by(&api, token, Method::POST, path).json(&body);
    let (created, stored) =
        json(post(&alice, "/ingest", json!({"user_id": 42, "file_name": "a"})).send().await.unwrap()).await;
    assert_eq!(created, 201);
    let file = format!("/files/{}", stored["data"]["file_id"].as_str().unwrap());
    let foreign = || post(&alice, "/ingest", json!({"user_id": 43, "file_name": "a"}));
    assert_eq!(refusal(foreign()).await, (403, "other_user".to_owned()));
    assert_eq!(status(post(&service, "/ingest", json!({"user_id": 43, "file_name": "b"}))).await, 201);

    // By its id: for others it is not there, also where it would be changed.
    for (method, body) in
        [(Method::GET, json!({})), (Method::PATCH, json!({"file_name": "stolen"})), (Method::DELETE, json!({}))]
    {
        let request = by(&api, &bob, method, &file).json(&body);
        assert_eq!(refusal(request).await, (404, "file_not_found".to_owned()));
    }
    let (_, found) = json(by(&api, &alice, Method::GET, &file).send().await.unwrap()).await;
    assert_eq!(found["data"]["file_name"], "a");
    assert_eq!(status(by(&api, &alice, Method::PATCH, &file).json(&json!({"file_name": "mine"}))).await, 200);
    // Bob's file under Alice's id is not taken for hers, nor told whose it is.
    let id = &stored["data"]["file_id"];
    let (taken, problem) =
        json(post(&bob, "/ingest", json!({"user_id": 43, "file_name": "x", "file_id": id})).send().await.unwrap())
            .await;
    assert!(taken == 409 || taken == 201 || taken == 400, "{problem}");
    assert!(!problem.to_string().contains("\"mine\""));

    // In bulk: each row; a listing as a whole; test files for nobody but admin.
    let rows = "{\"user_id\":42,\"file_name\":\"b\"}\n{\"user_id\":43,\"file_name\":\"c\"}\n{\"user_id\":42,\"file_name\":\"d\"}\n";
    let bulk = |token: &str, query: &str, kind: &str, body: &str| {
        by(&api, token, Method::POST, &format!("/ingest/bulk{query}"))
            .header("Content-Type", kind)
            .body(body.to_owned())
    };
    let (_, loaded) = json(bulk(&alice, "", "application/x-ndjson", rows).send().await.unwrap()).await;
    assert_eq!((&loaded["inserted"], &loaded["rejected"]), (&json!(2), &json!(1)));
    assert_eq!(
        loaded["rejections"],
        json!([{"line": 2, "record": 2, "field": "user_id", "reason": "must be the token's own user"}])
    );
    let csv = "user_id,file_name\n43,x\n43,y\n";
    assert_eq!(json(bulk(&alice, "", "text/csv", csv).send().await.unwrap()).await.1["rejected"], 2);
    assert_eq!(status(bulk(&alice, "?on_error=abort", "text/csv", csv)).await, 400);
    let listing = "[{\"Path\":\"x\",\"Name\":\"x\",\"Size\":1,\"IsDir\":false}]";
    assert_eq!(status(bulk(&alice, "?format=lsjson&user_id=43", "application/json", listing)).await, 403);
    assert_eq!(status(bulk(&alice, "?format=lsjson&user_id=42", "application/json", listing)).await, 200);
    for (token, expected) in [(&alice, 403), (&service, 403), (&admin, 200)] {
        assert_eq!(status(by(&api, token, Method::POST, "/ingest/bulk?count=10")).await, expected);
    }

    // A cursor is a place in a listing, not a way into another one.
    let (_, page) = json(by(&api, &alice, Method::GET, "/query/42?limit=1").send().await.unwrap()).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let (_, page) =
        json(by(&api, &bob, Method::GET, &format!("/query/43?cursor={cursor}")).send().await.unwrap()).await;
    assert!(page["files"].as_array().unwrap().iter().all(|file| file["user_id"] == 43), "{page}");
    assert_eq!(status(by(&api, &alice, Method::DELETE, &file)).await, 200);
}

#[tokio::test]
async fn documents_are_reached_by_their_user_alone() {
    let cluster = TestCluster::migrated(2).await;
    let api = start(&cluster).await;
    let (alice, bob, service) = (token(42, "user"), token(43, "user"), token(0, "service"));
    let send = |token: &str, method: Method, path: &str, body: Value| by(&api, token, method, path).json(&body);
    let order = send(&alice, Method::POST, "/records/orders", json!({"user_id": 42, "n": 1})).send().await.unwrap();
    let order = format!("/records/orders/{}", json(order).await.1["key"].as_str().unwrap());
    assert_eq!(
        status(send(&alice, Method::PUT, "/records/profiles/42", json!({"user_id": 42, "name": "A"}))).await,
        201
    );

    let forbidden = [
        send(&bob, Method::POST, "/records/orders", json!({"user_id": 42, "n": 2})),
        send(&bob, Method::GET, "/records/orders?shard_key=42", json!({})),
        send(&bob, Method::GET, "/records/orders", json!({})),
        send(&bob, Method::GET, "/records/profiles/42", json!({})),
        send(&bob, Method::PUT, "/records/profiles/42", json!({"user_id": 42})),
        send(&bob, Method::PUT, "/records/profiles/+42", json!({})),
        send(&bob, Method::PATCH, "/records/profiles/42", json!({"name": "B"})),
        send(&bob, Method::DELETE, "/records/profiles/42", json!({})),
        send(&bob, Method::POST, "/records/profiles", json!({"user_id": 42})),
        // Collections that are kept by something else.
        send(&bob, Method::GET, "/records/words/43", json!({})),
        send(&bob, Method::POST, "/records/words", json!({"user_id": 43})),
        send(&bob, Method::GET, "/records/store/43", json!({})),
        send(&bob, Method::POST, "/records/data", json!({"user_id": 43})),
        send(&bob, Method::GET, "/records/kv?shard_key=43", json!({})),
        send(&bob, Method::POST, "/store", json!({"userId": 42, "data": 1})),
        send(&bob, Method::GET, "/store/42", json!({})),
        send(&bob, Method::GET, "/store/+42", json!({})),
        send(&bob, Method::GET, "/store/x", json!({})),
        send(&bob, Method::GET, "/read/a", json!({})),
    ];
    for (number, request) in forbidden.into_iter().enumerate() {
        assert_eq!(refusal(request).await.0, 403, "{number}");
    }
    for (method, body) in [
        (Method::GET, json!({})),
        (Method::PUT, json!({"user_id": 43})),
        (Method::PUT, json!({"user_id": 42})),
        (Method::PATCH, json!({"n": 9})),
        (Method::PATCH, json!({"user_id": 43})),
        (Method::DELETE, json!({})),
    ] {
        assert_eq!(
            refusal(send(&bob, method.clone(), &order, body)).await,
            (404, "record_not_found".to_owned()),
            "{method}"
        );
    }
    let rows = "{\"user_id\":43,\"n\":1}\n{\"user_id\":42,\"n\":2}\n[43]\n{\"user_id\":42,\"user_id\":43}\n";
    let request = by(&api, &bob, Method::POST, "/records/orders").header("Content-Type", "application/x-ndjson");
    let (_, loaded) = json(request.body(rows).send().await.unwrap()).await;
    assert_eq!((&loaded["stored"], &loaded["rejected"]), (&json!(1), &json!(3)), "{loaded}");

    // What is one's own is one's own.
    let own = [
        (send(&alice, Method::GET, "/records/orders?shard_key=42", json!({})), 200),
        (send(&alice, Method::GET, &order, json!({})), 200),
        (send(&alice, Method::PATCH, &order, json!({"n": 3})), 200),
        (send(&alice, Method::PATCH, &order, json!({"user_id": 43})), 409),
        (send(&alice, Method::PUT, &order, json!({"user_id": 42, "n": 4})), 200),
        (send(&alice, Method::GET, "/records/profiles/42", json!({})), 200),
        (send(&alice, Method::POST, "/store", json!({"userId": 42, "data": 1})), 200),
        (send(&alice, Method::GET, "/store/42", json!({})), 200),
        (send(&service, Method::GET, "/records/orders", json!({})), 200),
        (send(&service, Method::GET, &order, json!({})), 200),
        (send(&service, Method::GET, "/store/42", json!({})), 200),
        (send(&alice, Method::DELETE, &order, json!({})), 200),
    ];
    for (number, (request, expected)) in own.into_iter().enumerate() {
        assert_eq!(status(request).await, expected, "{number}");
    }
}

/// How a token is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Good,
    Expired,
    WrongKey,
    Truncated(usize),
    Swapped,
    Oversized,
    None,
    Garbage,
}

#[tokio::test]
async fn no_token_reaches_across_users() {
    const USERS: i64 = 6;
    let cluster = TestCluster::migrated(2).await;
    let api = start(&cluster).await;
    let service = token(0, "service");
    let (mut files, mut orders) = (Vec::new(), Vec::new());
    for user in 0..USERS {
        let secret = format!("secret-of-{user}!");
        let post = |path: &str, body: Value| by(&api, &service, Method::POST, path).json(&body).send();
        let file = json(post("/ingest", json!({"user_id": user, "file_name": &secret})).await.unwrap()).await.1;
        files.push(file["data"]["file_id"].as_str().unwrap().to_owned());
        let order = json(post("/records/orders", json!({"user_id": user, "s": &secret})).await.unwrap()).await.1;
        orders.push(order["key"].as_str().unwrap().to_owned());
        assert_eq!(post("/store", json!({"userId": user, "data": &secret})).await.unwrap().status(), 200);
        assert_eq!(post("/records/profiles", json!({"user_id": user, "s": &secret})).await.unwrap().status(), 201);
    }
    let state = || async {
        let mut state = Vec::new();
        for (user, (file, order)) in files.iter().zip(&orders).enumerate() {
            for path in [
                format!("/query/{user}"),
                format!("/files/{file}"),
                format!("/records/orders?shard_key={user}"),
                format!("/records/orders/{order}"),
                format!("/store/{user}"),
                format!("/records/profiles/{user}"),
            ] {
                let mut found = json(by(&api, &service, Method::GET, &path).send().await.unwrap()).await.1;
                found.as_object_mut().unwrap().remove("from_cache");
                state.push((path, found));
            }
        }
        state
    };
    let before = state().await;

    let kind = prop_oneof![
        4 => Just(Kind::Good), 1 => Just(Kind::Expired), 1 => Just(Kind::WrongKey), 1 => (1..120_usize).prop_map(Kind::Truncated),
        1 => Just(Kind::Swapped), 1 => Just(Kind::Oversized), 1 => Just(Kind::None), 1 => Just(Kind::Garbage),
    ];
    let case = (kind, 0..USERS, 0..USERS, 0..17_usize);
    let mut runner = TestRunner::deterministic();
    for _ in 0..600 {
        let (kind, caller, target, route) = case.new_tree(&mut runner).unwrap().current();
        let of = |user: usize| (files[user].as_str(), orders[user].as_str());
        let (file, order) = of(usize::try_from(target).unwrap());
        // A good caller changes nothing of their own either, so that all can be compared at the end.
        let is_own = matches!(kind, Kind::Good) && caller == target;
        let evil = json!({"user_id": target, "file_name": "evil", "evil": 1});
        let ndjson = format!("{{\"user_id\":{target},\"file_name\":\"evil\"}}\n");
        let send = |method: Method, path: String| api.request(method, &path);
        let (changes, request) = match route {
            0 => (false, send(Method::GET, format!("/query/{target}"))),
            1 => (false, send(Method::GET, format!("/files/{file}"))),
            2 => (true, send(Method::PATCH, format!("/files/{file}")).json(&json!({"file_name": "evil"}))),
            3 => (true, send(Method::DELETE, format!("/files/{file}"))),
            4 => {
                (true, send(Method::POST, "/ingest".to_owned()).json(&json!({"user_id": target, "file_name": "evil"})))
            }
            5 => (true, send(Method::POST, "/ingest/bulk?format=ndjson".to_owned()).body(ndjson)),
            6 => (false, send(Method::GET, format!("/records/orders?shard_key={target}"))),
            7 => (false, send(Method::GET, format!("/records/orders/{order}"))),
            8 => (true, send(Method::PUT, format!("/records/orders/{order}")).json(&evil)),
            9 => (true, send(Method::PATCH, format!("/records/orders/{order}")).json(&json!({"evil": 1}))),
            10 => (true, send(Method::DELETE, format!("/records/orders/{order}"))),
            11 => (true, send(Method::POST, "/records/orders".to_owned()).json(&evil)),
            12 => (true, send(Method::PUT, format!("/records/profiles/{target}")).json(&evil)),
            13 => (true, send(Method::POST, "/store".to_owned()).json(&json!({"userId": target, "data": "evil"}))),
            14 => (false, send(Method::GET, format!("/store/{target}"))),
            15 => (false, send(Method::GET, "/records/orders".to_owned())),
            _ => (false, send(Method::GET, "/shards".to_owned())),
        };
        if is_own && changes {
            continue;
        }
        let (good, admin) = (token(caller, "user"), token(target, "admin"));
        let request = match kind {
            Kind::Good => request.bearer_auth(&good),
            Kind::Expired => request.bearer_auth(
                Key::secret(SECRET).token("", &json!({"sub": target, "scope": "admin", "exp": now() - 60})),
            ),
            Kind::WrongKey => request
                .bearer_auth(Key::secret("another secret, and long enough too").token("", &claims(target, "admin"))),
            Kind::Truncated(end) => request.bearer_auth(admin.get(..admin.len() - end).unwrap()),
            Kind::Swapped => {
                let (good, admin): (Vec<_>, Vec<_>) = (good.split('.').collect(), admin.split('.').collect());
                request.bearer_auth([admin[0], admin[1], good[2]].join("."))
            }
            Kind::Oversized => request.bearer_auth(format!("{admin}{}", "A".repeat(20_000))),
            Kind::None => request,
            Kind::Garbage => request.header("Authorization", "Bearer \u{7f}..;' <script>".replace('\u{7f}', "")),
        };
        let what = format!("{kind:?} of {caller} to {target} by {route}");
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        if matches!(kind, Kind::Good) {
            assert!(status != 401 && status.as_u16() < 500, "{what}: {status}");
        } else {
            assert_eq!(status, 401, "{what}: {text}");
        }
        for user in (0..USERS).filter(|user| !matches!(kind, Kind::Good) || *user != caller) {
            assert!(!text.contains(&format!("secret-of-{user}!")), "{what}: {text}");
        }
    }
    assert_eq!(state().await, before);
}

#[tokio::test]
async fn settings_tokens_and_the_log_go_together() {
    let cluster = TestCluster::migrated(1).await;
    let off = Api::start(&cluster).await;
    assert!(off.log().contains("sign-in is off"), "{}", off.log());
    assert_eq!(off.get("/stats").await.status(), 200);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let file = file.to_str().unwrap();
    let on =
        Api::start_with(&cluster, &[("SHARDRIVE_AUTH_SECRET_FILE", file), ("SHARDRIVE_AUTH_AUDIENCE", "drive")]).await;
    assert!(!on.log().contains("sign-in is off") && !on.log().contains(SECRET), "{}", on.log());
    let variables = [("SHARDRIVE_AUTH_SECRET_FILE", file), ("SHARDRIVE_AUTH_AUDIENCE", "drive")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let made = shardrive(&["token", "--user", "42", "--ttl", "5m"], &variables).await;
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert_eq!(status(by(&on, made.out.trim(), Method::GET, "/query/42")).await, 200);
    assert_eq!(status(by(&on, made.out.trim(), Method::GET, "/query/43")).await, 403);
    assert_eq!(
        refusal(by(&on, &token(42, "user"), Method::GET, "/query/42")).await,
        (401, "token_wrong_audience".to_owned())
    );
    let made = shardrive(&["token", "--scope", "admin", "--json"], &variables).await.json();
    assert_eq!(made["scope"], "admin");
    assert_eq!(status(by(&on, made["token"].as_str().unwrap(), Method::GET, "/admin/moves")).await, 200);
    for (arguments, variables, code) in [
        (&["token"][..], &variables[..], 2),
        (&["token", "--user", "42"], &[], 2),
        (&["token", "--user", "-1"], &variables, 2),
        (&["token", "--user", "1", "--scope", "root"], &variables, 2),
        (&["token", "--user", "1", "--ttl", "1y"], &variables, 2),
    ] {
        let refused = shardrive(arguments, variables).await;
        assert_eq!((refused.code, refused.out.as_str()), (code, ""), "{arguments:?}: {}", refused.err);
    }

    let token_file = folder.path().join("token");
    std::fs::write(&token_file, shardrive(&["token", "--user", "7"], &variables).await.out).unwrap();
    let rows = folder.path().join("rows.ndjson");
    std::fs::write(&rows, "{\"user_id\":7,\"file_name\":\"a\"}\n").unwrap();
    let (rows, token_file) = (rows.to_str().unwrap(), token_file.to_str().unwrap());
    assert_eq!(shardrive(&["import", rows, "--url", on.base()], &[]).await.code, 1);
    assert_eq!(shardrive(&["import", rows, "--url", on.base(), "--token-file", token_file], &[]).await.code, 0);
}
