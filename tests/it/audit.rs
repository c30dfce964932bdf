//! The audit log: what operators do is noted before it is done, who may not is noted too, and nobody changes it after.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shardrive::shard::migrate;

use crate::support::api::{Api, json};
use crate::support::pack::pack;
use crate::support::poll;
use crate::support::program::shardrive;
use crate::support::servers::{CONNECT, TestCluster, run, sqlstate};
use crate::support::tokens::{Key, now};

const SECRET: &str = "a secret of the test, long enough for HS256";
const SETTINGS: [(&str, &str); 2] = [("SHARDRIVE_AUTH_SECRET", SECRET), ("SHARDRIVE_TRUSTED_PROXIES", "127.0.0.0/8")];
const PATIENT: [(&str, &str); 4] = [
    ("SHARDRIVE_HEALTH_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_CONNECT_TIMEOUT_MS", "20000"),
    ("SHARDRIVE_MOVE_TIMEOUT_MS", "30000"),
    ("SHARDRIVE_STATS_TIMEOUT_MS", "30000"),
];
const COUNT: &str = "SELECT count(*) FROM shardrive.audit_log";
const MOVES: &str = "SELECT count(*) FROM shardrive.moves";

fn token(subject: &str, scope: &str) -> String {
    Key::secret(SECRET).token("", &json!({"sub": subject, "scope": scope, "exp": now() + 600}))
}

/// A request of this name, of somebody behind a proxy.
fn by(api: &Api, token: &str, name: &str, method: Method, path: &str) -> RequestBuilder {
    let request = api.request(method, path).bearer_auth(token);
    request.header("X-Request-Id", name).header("X-Forwarded-For", "1.1.1.1, 203.0.113.7")
}

async fn list(api: &Api, query: &str) -> (StatusCode, Value) {
    json(
        api.request(Method::GET, &format!("/admin/audit{query}"))
            .bearer_auth(token("r", "admin"))
            .send()
            .await
            .unwrap(),
    )
    .await
}

/// The entries, without what is another at each run.
async fn entries(api: &Api, query: &str) -> Vec<Value> {
    let (status, page) = list(api, query).await;
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_act_leaves_one_entry_that_tells_all() {
    let cluster = TestCluster::start(3).await;
    migrate(&cluster.options()[..2], CONNECT).await.unwrap();
    let api = Api::start_on(&cluster.urls()[..2], &SETTINGS).await;
    let alice = token("alice", "admin");
    let (url, secret) = (cluster.url(2), "postgres://u:verysecret@127.0.0.1:1/d");
    let place = url.split('@').nth(1).unwrap();
    let collection = "/collections/things";
    // What is asked for, how it is answered, what is noted: act, details, outcome, code.
    let table = [
        (
            Method::PUT,
            collection,
            json!({"shard_key": "user_id", "key_type": "integer"}),
            201,
            json!(["declare_collection", {"collection": "things", "shard_key": "user_id", "key_type": "integer"}, "accepted", null]),
        ),
        (
            Method::PUT,
            collection,
            json!({"key_type": "string"}),
            409,
            json!(["declare_collection", {"collection": "things", "key_type": "string"}, "refused", "collection_differs"]),
        ),
        (
            Method::POST,
            "/admin/shards",
            json!({"url": url, "dry_run": true}),
            200,
            json!(["add_shard", {"place": place, "dry_run": true}, "accepted", null]),
        ),
        (
            Method::POST,
            "/admin/shards",
            json!({"url": secret}),
            409,
            json!(["add_shard", {"place": "127.0.0.1:1/d"}, "refused", "shard_refused"]),
        ),
        (
            Method::POST,
            "/admin/shards",
            json!({"url": "verysecret"}),
            400,
            json!(["add_shard", {"place": "no URL of a shard"}, "refused", "invalid_field"]),
        ),
        (
            Method::POST,
            "/admin/moves",
            json!({"slots": "postgres://u:mislaid@h/d", "to": 1}),
            400,
            json!(["move", {"slots": "not shown", "to": 1}, "refused", "invalid_field"]),
        ),
        (
            Method::POST,
            "/admin/moves/999/cancel",
            json!({"a": secret}),
            404,
            json!(["cancel", {"id": 999}, "refused", "move_not_found"]),
        ),
        (
            Method::POST,
            "/admin/moves/x/rollback",
            json!({}),
            400,
            json!(["rollback", {"id": "x"}, "refused", "invalid_path"]),
        ),
        (
            Method::POST,
            "/admin/moves/999/finish",
            json!({}),
            404,
            json!(["finish", {"id": 999}, "refused", "move_not_found"]),
        ),
        (
            Method::POST,
            "/admin/drain",
            json!({"shard": 9}),
            400,
            json!(["drain", {"shard": 9}, "refused", "invalid_field"]),
        ),
        (
            Method::POST,
            "/admin/rebalance",
            json!({"strategy": "slots", "dry_run": true}),
            200,
            json!(["rebalance", {"strategy": "slots", "dry_run": true}, "accepted", null]),
        ),
        (Method::POST, "/admin/rebalance", json!([secret]), 400, json!(["rebalance", {}, "refused", "invalid_body"])),
        (
            Method::POST,
            "/ingest/bulk?count=3",
            json!({}),
            200,
            json!(["make_test_files", {"count": 3}, "accepted", null]),
        ),
        (
            Method::POST,
            "/ingest/bulk?c%6Funt=0",
            json!({}),
            400,
            json!(["make_test_files", {"count": 0}, "refused", "invalid_query"]),
        ),
        (
            Method::POST,
            "/admin/moves",
            json!({"slots": "0", "to": 1, "rollback_window_seconds": 600}),
            202,
            json!(["move", {"slots": "0", "to": 1, "rollback_window_seconds": 600}, "accepted", null]),
        ),
    ];
    let mut answers = String::new();
    for (number, (method, path, body, status, noted)) in table.iter().enumerate() {
        let answer = by(&api, &alice, &format!("r-{number}"), method.clone(), path).json(body).send().await.unwrap();
        let found = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(found.as_u16(), *status, "{method} {path} {body}: {text}");
        answers += &text;
        let newest = entries(&api, "?limit=1").await.remove(0);
        let told = json!([newest["act"], newest["details"], newest["outcome"], newest["code"]]);
        assert_eq!(told, *noted, "{method} {path} {body}");
        let who = json!([newest["actor"], newest["scope"], newest["source"], newest["request_id"]]);
        assert_eq!(who, json!(["alice", "admin", "203.0.113.7", format!("r-{number}")]));
        assert!(newest["at"].as_str() <= newest["ended_at"].as_str(), "{newest}");
        assert_eq!(cluster.value::<i64>(0, COUNT).await, i64::try_from(number).unwrap() + 1, "one each");
    }
    // A packed body is noted and done as a plain one; one that cannot be read is refused, and noted.
    let packed = pack("gzip", json!({"slots": "2", "to": 1, "dry_run": true}).to_string().as_bytes()).await;
    let packed =
        by(&api, &alice, "packed", Method::POST, "/admin/moves").header("Content-Encoding", "gzip").body(packed);
    assert_eq!(packed.send().await.unwrap().status(), 200);
    assert_eq!(entries(&api, "?limit=1").await[0]["details"], json!({"slots": "2", "to": 1, "dry_run": true}));
    let unread =
        by(&api, &alice, "unread", Method::POST, "/admin/moves").header("Content-Type", "text/plain").body("{}");
    assert_eq!(unread.send().await.unwrap().status(), 415);
    assert_eq!(entries(&api, "?limit=1").await[0]["code"], "unsupported_media_type");
    // What the log cannot hold is not done and noted as an act without fields.
    let moves: i64 = cluster.value(0, MOVES).await;
    for body in ["{\"slots\":\"2\",\"to\":1,\"\\ud800\":1}", "[]", "{\"slots\":\"2\",\"to\":1"] {
        let unreadable = by(&api, &alice, "unreadable", Method::POST, "/admin/moves")
            .header("Content-Type", "application/json")
            .body(body);
        assert_eq!(unreadable.send().await.unwrap().status(), 400, "{body}");
        let newest = entries(&api, "?limit=1").await.remove(0);
        assert_eq!((&newest["outcome"], &newest["details"]), (&json!("refused"), &json!({})), "{body}");
        assert_eq!(cluster.value::<i64>(0, MOVES).await, moves, "{body}");
    }
    // What is no act is not noted.
    let before: i64 = cluster.value(0, COUNT).await;
    let rows = by(&api, &alice, "rows", Method::POST, "/ingest/bulk").header("Content-Type", "application/x-ndjson");
    assert_eq!(rows.body("{\"user_id\":1,\"file_name\":\"a\"}\n").send().await.unwrap().status(), 200);
    assert_eq!(by(&api, &alice, "look", Method::GET, "/admin/moves").send().await.unwrap().status(), 200);
    assert_eq!(cluster.value::<i64>(0, COUNT).await, before);

    let kept: String = cluster.value(0, "SELECT string_agg(a::text, ' ') FROM shardrive.audit_log AS a").await;
    for text in [&kept, &api.log(), &answers] {
        assert!(!text.contains("verysecret") && !text.contains("shard_pass"), "a secret in {text}");
    }
    assert!(![kept, api.log()].concat().contains("mislaid"), "what is in the wrong place may be a secret");
    let line = api.log().lines().find(|line| line.contains("act=drain")).unwrap().to_owned();
    for part in
        [" audit ", "actor=alice", "source=203.0.113.7", "outcome=refused", "code=invalid_field", "request_id=r-9"]
    {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

/// By the description, so that a route that comes later is among them.
#[tokio::test]
async fn every_route_that_changes_something_for_operators_is_noted() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &SETTINGS).await;
    let (_, document) = api.get_json("/openapi.json").await;
    let (admin, service) = (token("alice", "admin"), token("robot", "service"));
    let mut acts = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["security"][0]["bearer"][0] != "admin" {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let real = path.replace("{id}", "7").replace("{collection}", "1no-name");
            let before: i64 = cluster.value(0, COUNT).await;
            let status = by(&api, &admin, "x", method.clone(), &real).send().await.unwrap().status();
            let added = cluster.value::<i64>(0, COUNT).await - before;
            assert_eq!(added, i64::from(method != Method::GET), "{method} {real}: {status}");
            if added > 0 {
                acts.insert(entries(&api, "?limit=1").await[0]["act"].as_str().unwrap().to_owned());
            }
            assert_eq!(by(&api, &service, "x", method.clone(), &real).send().await.unwrap().status(), 403);
            let tried = &entries(&api, "?limit=1").await[0];
            let who = json!([tried["actor"], tried["scope"], tried["outcome"], tried["code"]]);
            assert_eq!(who, json!(["robot", "service", "refused", "insufficient_scope"]), "{method} {real}");
            assert_eq!(tried["act"] == "look", method == Method::GET, "{tried}");
        }
    }
    assert!(acts.len() >= 8, "{acts:?}");
}

#[tokio::test]
async fn tries_of_those_who_may_not_are_noted_and_do_not_fill_the_log() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start_with(&cluster, &SETTINGS).await;
    let user = token("42", "user");
    for none in [api.request(Method::POST, "/admin/drain"), by(&api, "a.b.c", "x", Method::POST, "/admin/drain")] {
        assert_eq!(none.send().await.unwrap().status(), 401);
    }
    assert_eq!(by(&api, &user, "x", Method::GET, "/query/43").send().await.unwrap().status(), 403);
    assert_eq!(cluster.value::<i64>(0, COUNT).await, 0, "anybody can do that");
    assert_eq!(by(&api, &user, "x", Method::POST, "/ingest/bulk?count=5").send().await.unwrap().status(), 403);
    let tried = &entries(&api, "").await[0];
    assert_eq!(json!([tried["act"], tried["details"], tried["actor"]]), json!(["make_test_files", {"count": 5}, "42"]));
    for _ in 0..150 {
        assert_eq!(by(&api, &user, "x", Method::POST, "/admin/drain").send().await.unwrap().status(), 403);
    }
    assert_eq!(cluster.value::<i64>(0, COUNT).await, 100);
}

#[tokio::test]
async fn what_cannot_be_noted_is_not_done() {
    let mut cluster = TestCluster::migrated(2).await;
    let api = Api::start(&cluster).await;
    assert_eq!(api.post("/ingest/bulk?count=2", &json!({})).await.status(), 200);
    let noted = &entries(&api, "").await[0];
    let who = json!([noted["actor"], noted["scope"], noted["source"]]);
    assert_eq!(who, json!(["-", "without sign-in", "127.0.0.1"]));
    cluster.server(0).stop().await;
    poll::until("the loss to be noticed", async || {
        let (_, health) = api.get_json("/health").await;
        if health["shards"]["0"] == "healthy" { Err(health) } else { Ok(()) }
    })
    .await;
    for (method, path, body) in [
        (Method::POST, "/ingest/bulk?count=10", json!({})),
        (Method::PUT, "/collections/things", json!({"shard_key": "user_id", "key_type": "integer"})),
        (Method::POST, "/admin/moves", json!({"slots": "1", "to": 0})),
    ] {
        let (status, problem) = json(api.request(method, path).json(&body).send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("audit_unavailable")), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("nothing was done"), "{problem}");
    }
    assert_eq!(list(&api, "").await.0, 503);
    let refused = shardrive(&["shards", "move", "--slots", "1", "--to", "0"], &cluster.variables()).await;
    assert!(refused.code == 1 && refused.err.contains("nothing was done"), "{refused:?}");
    assert_eq!(api.post("/ingest", &json!({"user_id": 3, "file_name": "a"})).await.status(), 201, "no act");
    assert_eq!(cluster.value::<i64>(1, "SELECT count(*) FROM file_metadata").await, 2);
    let declared: i64 = cluster.value(1, "SELECT count(*) FROM shardrive.collections WHERE name = 'things'").await;
    assert_eq!(declared, 0);
    cluster.server(0).start().await.unwrap();
    assert_eq!(cluster.value::<i64>(0, COUNT).await, 1);

    // Another shard is away: it was noted, and failed.
    poll::until("shard 0 to be back", async || {
        let (status, page) = list(&api, "").await;
        if status == 200 { Ok(()) } else { Err(page) }
    })
    .await;
    cluster.server(1).stop().await;
    assert_eq!(
        api.request(Method::PUT, "/collections/things")
            .json(&json!({"key_type": "string"}))
            .send()
            .await
            .unwrap()
            .status(),
        503
    );
    let failed = &entries(&api, "?limit=1").await[0];
    assert_eq!(json!([failed["outcome"], failed["code"]]), json!(["failed", "shard_unavailable"]));
}

#[tokio::test]
async fn an_act_whose_process_died_says_begun() {
    let cluster = TestCluster::migrated(2).await;
    let mut api = Api::start(&cluster).await;
    let mut lock = cluster.connect(0).await;
    run(&mut lock, "BEGIN; LOCK TABLE shardrive.moves IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let request = api.request(Method::POST, "/admin/moves/7/finish");
    let sent = tokio::spawn(async move { request.send().await.is_ok() });
    let begun = format!("{COUNT} WHERE act = 'finish' AND outcome = 'begun' AND ended_at IS NULL");
    poll::until_true("the entry", async || cluster.value::<i64>(0, &begun).await == 1).await;
    api.kill9();
    assert!(!sent.await.unwrap());
    run(&mut lock, "COMMIT").await.unwrap();
    let again = Api::start(&cluster).await;
    assert_eq!(entries(&again, "?act=finish").await[0]["outcome"], "begun");
}

#[tokio::test]
async fn commands_are_noted_and_the_log_is_shown() {
    let cluster = TestCluster::start(3).await;
    migrate(&cluster.options()[..2], CONNECT).await.unwrap();
    let mut variables = cluster.variables()[..2].to_vec();
    // A busy machine is no fault of a shard here.
    variables.extend(PATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let shards = async |arguments: &[&str]| shardrive(&[&["shards"], arguments].concat(), &variables).await;
    let url = cluster.url(2);
    assert_eq!(shards(&["status"]).await.code, 0);
    assert_eq!(shards(&["add", &url, "--dry-run"]).await.code, 0);
    assert_eq!(shards(&["add", "postgres://u:verysecret@127.0.0.1:1/d"]).await.code, 1);
    assert_eq!(shards(&["move", "--slots", "x", "--to", "1"]).await.code, 2);
    assert_eq!(shards(&["cancel", "999"]).await.code, 1);
    assert_eq!(shards(&["move", "--slots", "0", "--to", "1", "--rollback-window", "0"]).await.code, 0);

    let shown = shards(&["audit", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let entries: Vec<Value> = shown.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<Value> = entries.iter().rev().map(|e| json!([e["act"], e["outcome"], e["code"]])).collect();
    let expected = json!([
        ["add_shard", "accepted", null],
        ["add_shard", "refused", "in_the_way"],
        ["move", "refused", "wrong_usage"],
        ["cancel", "refused", "in_the_way"],
        ["move", "accepted", null],
    ]);
    assert_eq!(Value::from(told), expected);
    let details = json!({"slots": "0", "to": 1, "rollback_window_seconds": 0, "skip_verify": false, "dry_run": false});
    assert_eq!(entries[0]["details"], details);
    for entry in &entries {
        assert!(entry["actor"].as_str().unwrap().contains('@'), "{entry}");
        assert_eq!(json!([entry["scope"], entry["source"], entry["request_id"]]), json!(["command line", null, null]));
    }
    let table = shards(&["audit", "--act", "cancel"]).await;
    assert_eq!((table.code, table.out.lines().count()), (0, 2), "{table:?}");
    assert!(table.out.contains("refused") && table.out.contains("id=999"), "{table:?}");
    assert_eq!(shards(&["audit", "--limit", "2", "--json"]).await.out.lines().count(), 2);
    assert_eq!(shards(&["audit", "--since", "2999-01-01T00:00:00Z", "--json"]).await.out, "");
    assert_eq!(shards(&["audit", "--actor", "nobody", "--json"]).await.out, "");
    for wrong in [["--act", "fly"], ["--since", "yesterday"], ["--actor", ""], ["--limit", "-1"]] {
        assert_eq!(shards(&[&["audit"], &wrong[..]].concat()).await.code, 2, "{wrong:?}");
    }
    assert!(shards(&["audit", "--help"]).await.out.contains("Examples:"));
    assert!(!format!("{shown:?}{table:?}").contains("verysecret"));
}

#[tokio::test]
async fn pages_and_filters_give_each_entry_once() {
    let cluster = TestCluster::migrated(1).await;
    let add = "INSERT INTO shardrive.audit_log (id, at, actor, scope, act, details, outcome, keep_until)
        SELECT gen_random_uuid(), '2026-01-01T00:00:00Z'::timestamptz + n / 3 * interval '1 hour',
               CASE WHEN n % 2 = 0 THEN 'alice' ELSE 'bob' END, 'admin', CASE WHEN n % 5 = 0 THEN 'drain' ELSE 'move' END,
               '{}', 'accepted', 'infinity'
          FROM generate_series(0, 24) AS n";
    cluster.psql(0, add).await.unwrap();
    let api = Api::start(&cluster).await;
    for (filter, expected) in [
        ("", 25),
        ("&actor=alice", 13),
        ("&act=drain", 5),
        ("&act=drain&actor=bob", 2),
        ("&since=2026-01-01T04:00:00%2B02:00", 19),
        ("&since=2026-01-01T08:00:00Z&act=move", 1),
        ("&actor=carol", 0),
    ] {
        let (mut seen, mut times, mut cursor) = (BTreeSet::new(), Vec::new(), String::new());
        loop {
            let (status, page) = list(&api, &format!("?limit=4{filter}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            for entry in page["entries"].as_array().unwrap() {
                assert!(seen.insert(entry["id"].to_string()), "twice: {entry}");
                times.push(entry["at"].as_str().unwrap().to_owned());
            }
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen.len(), expected, "{filter}");
        assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    }
    for (query, field) in [
        ("?cursor=nonsense", "cursor"),
        ("?cursor=", "cursor"),
        ("?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "cursor"),
        ("?act=fly", "act"),
        ("?act=Move", "act"),
        ("?since=yesterday", "since"),
        ("?since=2026-01-01", "since"),
        ("?since=2026-01-01T00:00:00+02:00", "since"),
        ("?actor=", "actor"),
        ("?actor=a%00b", "actor"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=x", "limit"),
    ] {
        let (status, problem) = list(&api, query).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_query")), "{query}: {problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
    assert_eq!(list(&api, "?nonsense=1").await.0, 400);
    let far = list(&api, "?cursor=f____________________________w").await;
    assert!(far.0 == 200 || far.0 == 400, "{far:?}");
}

#[tokio::test]
async fn entries_stay_for_their_time_and_as_they_are() {
    let cluster = TestCluster::migrated(1).await;
    let add = |number: u32, keep: &str| {
        format!(
            "INSERT INTO shardrive.audit_log (id, at, actor, scope, act, details, outcome, keep_until)
             SELECT gen_random_uuid(), now() - interval '401 days', 'a', 'admin', 'move', '{{}}', 'accepted', {keep}
               FROM generate_series(1, {number})"
        )
    };
    cluster.psql(0, &add(2_500, "now() - interval '1 second'")).await.unwrap();
    cluster.psql(0, &add(3, "now() + interval '1 day'")).await.unwrap();
    let api = Api::start_with(&cluster, &[("SHARDRIVE_AUDIT_KEEP_DAYS", "30")]).await;
    poll::until("the old entries to go", async || match cluster.value::<i64>(0, COUNT).await {
        3 => Ok(()),
        left => Err(left),
    })
    .await;
    assert_eq!(api.post("/admin/moves/7/finish", &json!({})).await.status(), 404);
    let kept =
        format!("{COUNT} WHERE act = 'finish' AND keep_until - at BETWEEN interval '29 days' AND interval '31 days'");
    assert_eq!(cluster.value::<i64>(0, &kept).await, 1);

    let begun = "INSERT INTO shardrive.audit_log (id, actor, scope, act, details, keep_until)
                 VALUES ('00000000-0000-0000-0000-000000000001', 'a', 'admin', 'move', '{}', 'infinity')";
    cluster.psql(0, begun).await.unwrap();
    let end = "UPDATE shardrive.audit_log SET outcome = 'accepted', ended_at = now() WHERE id = '00000000-0000-0000-0000-000000000001'";
    let other = "UPDATE shardrive.audit_log SET outcome = 'accepted', actor = 'b' WHERE id = '00000000-0000-0000-0000-000000000001'";
    assert_eq!(sqlstate(cluster.psql(0, other).await), "SD007");
    assert_eq!(cluster.psql(0, end).await.unwrap(), 1);
    for change in [
        end,
        "UPDATE shardrive.audit_log SET outcome = 'refused'",
        "UPDATE shardrive.audit_log SET keep_until = now()",
        "DELETE FROM shardrive.audit_log",
        "TRUNCATE shardrive.audit_log",
    ] {
        assert_eq!(sqlstate(cluster.psql(0, change).await), "SD007", "{change}");
    }
    assert_eq!(cluster.value::<i64>(0, COUNT).await, 5);
}
