//! Hands in psql: they keep the rules of the tree, or the shard refuses them.

use reqwest::Method;
use serde_json::json;

use super::call;
use super::listings::entry;
use super::mirrors::sync;
use super::races::expect_whole;
use crate::support::api::Api;
use crate::support::servers::{TestCluster, sqlstate};

const ROOT: &str = "'00000000-0000-0000-0000-000000000000'";
const DUPLICATE: &str = "23505";
const NO_SUCH_FOLDER: &str = "23503";
const NOT_EMPTY: &str = "23001";
const BAD_VALUE: &str = "23514";

async fn expect_refused(cluster: &TestCluster, statements: &[(&str, String)]) {
    for (code, sql) in statements {
        assert_eq!(sqlstate(cluster.psql(0, sql).await), *code, "{sql}");
    }
}

#[tokio::test]
async fn entries_stand_in_folders_that_are_there() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    assert_eq!(call(&api, Method::PUT, "/drives/42/path/d/e/f.txt", json!({})).await.0, 201);
    let at = |names: &str| format!("shardrive.folder_at(42, '{{{names}}}')");
    let (d, e) = (at("d"), at("d,e"));
    let new_folder = |id: &str, parent: &str| {
        format!("INSERT INTO folders (user_id, folder_id, parent_id, folder_name) VALUES (42, {id}, {parent}, 'y')")
    };
    let new = "'77777777-0000-7000-8000-000000000000'";
    expect_refused(
        &cluster,
        &[
            (DUPLICATE, format!("INSERT INTO file_metadata (user_id, file_name, folder_id) VALUES (42, 'd', {ROOT})")),
            (
                NO_SUCH_FOLDER,
                format!("INSERT INTO file_metadata (user_id, file_name, folder_id) VALUES (42, 'x', {new})"),
            ),
            (NO_SUCH_FOLDER, format!("UPDATE file_metadata SET folder_id = {new}")),
            (NO_SUCH_FOLDER, new_folder(new, "gen_random_uuid()")),
            (BAD_VALUE, new_folder(new, new)),
            (BAD_VALUE, format!("UPDATE folders SET parent_id = {e} WHERE folder_id = {d}")),
            (NOT_EMPTY, format!("DELETE FROM folders WHERE user_id = 42 AND folder_id = {e}")),
            (NOT_EMPTY, format!("DELETE FROM folders WHERE user_id = 42 AND folder_id = {ROOT}")),
            (NOT_EMPTY, "DELETE FROM folders WHERE user_id = 42".to_owned()),
            (NOT_EMPTY, "TRUNCATE folders".to_owned()),
        ],
    )
    .await;
    // Folder by folder no deeper than by the service.
    let chain = "DO $$ DECLARE around uuid := '00000000-0000-0000-0000-000000000000'; BEGIN FOR depth IN 1..129 LOOP
                     INSERT INTO folders (user_id, folder_id, parent_id, folder_name) VALUES (42, gen_random_uuid(), around, 'n');
                     SELECT folder_id INTO around FROM folders WHERE user_id = 42 AND parent_id = around AND folder_name = 'n';
                 END LOOP; END $$";
    expect_refused(&cluster, &[(BAD_VALUE, chain.to_owned())]).await;
    cluster.psql(0, &chain.replace("129", "128")).await.unwrap();
    cluster.psql(0, "UPDATE folders SET trashed_at = now() WHERE folder_name = 'n' AND parent_id = '00000000-0000-0000-0000-000000000000'").await.unwrap();
    expect_refused(
        &cluster,
        &[(
            BAD_VALUE,
            format!("UPDATE folders SET parent_id = {d} WHERE folder_name = 'n' AND trashed_at IS NOT NULL"),
        )],
    )
    .await;
    let (status, purged) = call(&api, Method::DELETE, "/drives/42/trash", json!(null)).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(128)), "{purged}");
    expect_whole(&cluster).await;
    // What is in the trash is in its folder still.
    cluster.psql(0, "UPDATE file_metadata SET trashed_at = now()").await.unwrap();
    expect_refused(&cluster, &[(NOT_EMPTY, format!("DELETE FROM folders WHERE folder_id = {e}"))]).await;
    let (status, listed) = api.get_json("/drives/42/trash").await;
    assert_eq!((status.as_u16(), &listed["entries"][0]["path"]), (200, &json!("d/e/f.txt")), "{listed}");

    cluster.psql(0, "DELETE FROM file_metadata").await.unwrap();
    assert_eq!(cluster.psql(0, "DELETE FROM folders WHERE user_id = 42").await.unwrap(), 3);
    assert_eq!(call(&api, Method::PUT, "/drives/42/path/d/e/f.txt", json!({})).await.0, 201);
    cluster.psql(0, "TRUNCATE folders, file_metadata").await.unwrap();
    let (_, children) = api.get_json("/drives/42/children").await;
    assert_eq!(children["entries"], json!([]), "{children}");
}

#[tokio::test]
async fn the_first_entry_of_a_drive_makes_its_root() {
    let cluster = TestCluster::migrated(1).await;
    let api = Api::start(&cluster).await;
    let first = [
        format!(
            "INSERT INTO file_metadata (user_id, file_name, folder_id) VALUES (42, 'a', {ROOT}), (43, 'a', {ROOT})"
        ),
        format!(
            "INSERT INTO folders (user_id, folder_id, parent_id, folder_name) VALUES (44, gen_random_uuid(), {ROOT}, 'a')"
        ),
    ];
    for sql in first {
        cluster.psql(0, &sql).await.unwrap();
    }
    expect_whole(&cluster).await;
    assert_eq!(cluster.value::<i64>(0, "SELECT count(*) FROM folders WHERE parent_id IS NULL").await, 3);
    let (status, mirrored) = sync(&api, "", &[entry("a", 5)]).await;
    assert_eq!((status, &mirrored["updated"]["files"]), (200, &json!(1)), "{mirrored}");
    for user in [43, 44] {
        let (_, children) = api.get_json(&format!("/drives/{user}/children")).await;
        assert_eq!(children["entries"][0]["name"], "a", "{children}");
    }
}
