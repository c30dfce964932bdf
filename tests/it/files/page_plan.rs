//! Where a page of a user's files is read from, and how a group of changes finds its rows.

use serde_json::Value;

use crate::support::poll;
use crate::support::servers::{TestCluster, run, value};

/// All steps of a plan that read this table.
fn steps_on<'a>(plan: &'a Value, table: &str) -> Vec<&'a Value> {
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(|step| steps_on(step, table));
    (plan["Relation Name"] == table).then_some(plan).into_iter().chain(below).collect()
}

/// A user's files lie on as many blocks of the table as there are files: a page must not look at them.
#[tokio::test]
async fn a_page_is_read_from_the_key_alone() {
    let cluster = TestCluster::migrated(1).await;
    let mut db = cluster.connect(0).await;
    // Each round adds a file of every user, as in a drive that fills. Every other user has folders, of which a page
    // tells the paths.
    let fill = "INSERT INTO file_metadata (user_id, file_name, size_bytes, folder_id)
                SELECT u, 'file ' || n, n, CASE WHEN u % 2 = 0 THEN '00000000-0000-0000-0000-000000000000'::uuid END
                  FROM generate_series(1, 20) AS n, generate_series(1, 500) AS u ORDER BY n, u";
    run(&mut db, fill).await.unwrap();
    // A session of PostgreSQL's own, such as autovacuum's, may still hold a snapshot from before the rows.
    poll::until_true("a vacuum that sees all rows", async || {
        run(&mut db, "VACUUM (ANALYZE) file_metadata").await.unwrap();
        let all = "SELECT relallvisible = relpages FROM pg_class WHERE oid = 'file_metadata'::regclass";
        value(&mut db, all).await
    })
    .await;
    let page = include_str!("../../../sql/files/list_batch.sql");
    run(&mut db, &format!("PREPARE page AS {page}")).await.unwrap();
    for plans in ["force_generic_plan", "force_custom_plan"] {
        run(&mut db, &format!("SET plan_cache_mode = {plans}")).await.unwrap();
        let newest = "array_fill('ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid, ARRAY[2])";
        let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ('{{7, 8}}', {newest}, '{{21, 11}}')");
        let plan: Value = value(&mut db, &explain).await;
        let steps = steps_on(&plan[0]["Plan"], "file_metadata");
        assert_eq!(steps.len(), 2, "of users with and without folders: {plan:#}");
        for step in steps {
            assert_eq!(step["Actual Loops"], 1, "{plan:#}");
            let found = (&step["Node Type"], &step["Index Name"], &step["Heap Fetches"]);
            assert_eq!(found, (&"Index Only Scan".into(), &"file_metadata_pkey".into(), &0.into()), "{plan:#}");
        }
    }
}

/// A group finds each row by the key, and then goes to its place: no step may read the table.
#[tokio::test]
async fn a_group_of_changes_looks_at_its_rows_alone() {
    let cluster = TestCluster::migrated(1).await;
    let mut db = cluster.connect(0).await;
    let fill =
        "INSERT INTO file_metadata (user_id, file_name) SELECT n, 'file ' || n FROM generate_series(1, 5000) AS n";
    run(&mut db, fill).await.unwrap();
    run(&mut db, "ANALYZE file_metadata; SET plan_cache_mode = force_generic_plan").await.unwrap();
    let nulls = |count: usize| vec!["NULL"; count].join(", ");
    for (name, sql, parameters) in [
        ("change", include_str!("../../../sql/files/update_batch.sql"), 13),
        ("deletion", include_str!("../../../sql/files/delete_batch.sql"), 3),
    ] {
        run(&mut db, &format!("PREPARE {name} AS {sql}")).await.unwrap();
        let plan: Value =
            value(&mut db, &format!("EXPLAIN (FORMAT JSON) EXECUTE {name} ({})", nulls(parameters))).await;
        let steps: Vec<_> =
            steps_on(&plan[0]["Plan"], "file_metadata").iter().map(|step| step["Node Type"].clone()).collect();
        assert_eq!(steps.len(), 3, "{name}: {plan:#}");
        for kind in ["ModifyTable", "Index Scan", "Tid Scan"] {
            assert!(steps.contains(&kind.into()), "{name}, {kind}: {plan:#}");
        }
    }
}
