//! A tree in memory does what the API does: random acts by several processes, each answer foreseen, and the whole
//! compared.

use std::collections::BTreeMap;

use rand::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use super::call;
use crate::support::api::Api;
use crate::support::program::shardrive;
use crate::support::servers::TestCluster;

const ACTS: usize = 400;
const USER: i64 = 42;
/// The last two are one name, written in two ways.
const NAMES: [&str; 6] = ["a", "b", "c.txt", "A", "é", "e\u{301}"];
const ROOT: &str = "00000000-0000-0000-0000-000000000000";

/// A folder or a file of the model.
#[derive(Clone, Debug)]
struct Node {
    parent: String,
    name: String,
    is_folder: bool,
    size: i64,
    is_trashed: bool,
}

/// The tree as it must be, by id.
#[derive(Default)]
struct Model(BTreeMap<String, Node>);

/// What makes two names one.
fn key(name: &str) -> &str {
    if name == NAMES[5] { NAMES[4] } else { name }
}

impl Model {
    fn is_live(&self, id: &str) -> bool {
        id == ROOT || self.0.get(id).is_some_and(|node| !node.is_trashed && self.is_live(&node.parent))
    }

    fn is_below(&self, id: &str, top: &str) -> bool {
        id == top || id != ROOT && self.is_below(&self.0[id].parent, top)
    }

    fn path(&self, id: &str) -> String {
        if id == ROOT {
            return String::new();
        }
        let Node { parent, name, .. } = &self.0[id];
        if parent == ROOT { name.clone() } else { format!("{}/{name}", self.path(parent)) }
    }

    /// The entry of a folder that has the name.
    fn child(&self, parent: &str, name: &str) -> Option<String> {
        let is_it = |node: &Node| node.parent == parent && !node.is_trashed && key(&node.name) == key(name);
        self.0.iter().find(|(_, node)| is_it(node)).map(|(id, _)| id.clone())
    }

    fn pick(&self, random: &mut StdRng, wants: impl Fn(&Node) -> bool) -> Option<String> {
        self.0.iter().filter(|(_, node)| wants(node)).map(|(id, _)| id.clone()).choose(random)
    }

    /// A folder, live or not; the root now and then.
    fn folder(&self, random: &mut StdRng) -> String {
        let root = random.random_ratio(1, 4).then(|| ROOT.to_owned());
        root.or_else(|| self.pick(random, |node| node.is_folder)).unwrap_or_else(|| ROOT.to_owned())
    }

    /// All live entries: path, kind and size.
    fn live(&self) -> Vec<(String, bool, i64)> {
        let live = self.0.iter().filter(|(id, _)| self.is_live(id));
        let mut entries: Vec<_> = live.map(|(id, node)| (self.path(id), node.is_folder, node.size)).collect();
        entries.sort();
        entries
    }

    fn remove(&mut self, top: &str) {
        let gone: Vec<String> = self.0.keys().filter(|id| self.is_below(id, top)).cloned().collect();
        gone.iter().for_each(|id| drop(self.0.remove(id)));
    }
}

/// All live entries by the API, folder by folder.
async fn listed(api: &Api) -> Vec<(String, bool, i64)> {
    let (mut entries, mut folders) = (Vec::new(), vec![(ROOT.to_owned(), String::new())]);
    while let Some((id, above)) = folders.pop() {
        let mut cursor = String::new();
        loop {
            let (status, page) = api.get_json(&format!("/drives/{USER}/children?folder_id={id}&limit=3{cursor}")).await;
            assert_eq!(status.as_u16(), 200, "{page}");
            for entry in page["entries"].as_array().unwrap() {
                let path = format!("{above}{}", entry["name"].as_str().unwrap());
                let is_folder = entry["kind"] == "folder";
                if is_folder {
                    folders.push((entry["id"].as_str().unwrap().to_owned(), format!("{path}/")));
                }
                entries.push((path, is_folder, entry["size_bytes"].as_i64().unwrap_or_default()));
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    entries.sort();
    entries
}

/// One act on the API and on the model. The answers must agree.
async fn act(api: &Api, model: &mut Model, random: &mut StdRng) {
    let name = *NAMES.choose(random).unwrap();
    match random.random_range(0..12) {
        0..=2 => create(api, model, &model.folder(random), name).await,
        3..=5 => put(api, model, &model.folder(random), name, random.random_range(1..100)).await,
        6..=8 => {
            let Some(id) = model.pick(random, |node| node.is_folder) else { return };
            let parent = model.folder(random);
            move_folder(api, model, &id, &parent, name).await;
        }
        9 => {
            let Some(id) = model.pick(random, |_| true) else { return };
            trash(api, model, &id).await;
        }
        10 => {
            let Some(id) = model.pick(random, |node| node.is_trashed) else { return };
            restore(api, model, &id, name).await;
        }
        _ => {
            let Some(id) = model.pick(random, |node| node.is_folder) else { return };
            let expected = if model.is_live(&id) || model.0[&id].is_trashed { 200 } else { 404 };
            let target = format!("/folders/{id}?purge=true");
            assert_eq!(api.request(Method::DELETE, &target).send().await.unwrap().status().as_u16(), expected);
            if expected == 200 {
                model.remove(&id);
            }
        }
    }
}

async fn create(api: &Api, model: &mut Model, parent: &str, name: &str) {
    let body = json!({"parent_id": parent, "folder_name": name});
    let (status, made) = call(api, Method::POST, &format!("/drives/{USER}/folders"), body).await;
    let expected = match (model.is_live(parent), model.child(parent, name)) {
        (false, _) => 404,
        (true, Some(_)) => 409,
        (true, None) => 201,
    };
    assert_eq!(status, expected, "{made}");
    if status == 201 {
        let id = made["data"]["folder_id"].as_str().unwrap().to_owned();
        let node = Node { parent: parent.into(), name: name.into(), is_folder: true, size: 0, is_trashed: false };
        model.0.insert(id, node);
    }
}

async fn put(api: &Api, model: &mut Model, parent: &str, name: &str, size: i64) {
    if !model.is_live(parent) {
        return; // has no path
    }
    let above = model.path(parent);
    let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
    let (status, answer) =
        call(api, Method::PUT, &format!("/drives/{USER}/path/{path}"), json!({"size_bytes": size})).await;
    let known = model.child(parent, name);
    let expected = match known.as_deref().map(|id| model.0[id].is_folder) {
        Some(true) => 409,
        Some(false) => 200,
        None => 201,
    };
    assert_eq!(status, expected, "{path}: {answer}");
    match (status, known) {
        (200, Some(id)) => model.0.get_mut(&id).unwrap().size = size,
        (201, _) => {
            let id = answer["data"]["file_id"].as_str().unwrap().to_owned();
            let node = Node { parent: parent.into(), name: name.into(), is_folder: false, size, is_trashed: false };
            model.0.insert(id, node);
        }
        _ => {}
    }
}

async fn move_folder(api: &Api, model: &mut Model, id: &str, parent: &str, name: &str) {
    let body = json!({"parent_id": parent, "folder_name": name});
    let (status, answer) = call(api, Method::PATCH, &format!("/folders/{id}"), body).await;
    let is_taken = model.child(parent, name).is_some_and(|other| other != id);
    let expected = if !model.is_live(id) || !model.is_live(parent) {
        404
    } else if model.is_below(parent, id) || is_taken {
        409
    } else {
        200
    };
    assert_eq!(status, expected, "{answer}");
    if status == 200 {
        let node = model.0.get_mut(id).unwrap();
        (node.parent, node.name) = (parent.to_owned(), name.to_owned());
        assert_eq!(answer["data"]["path"], json!(model.path(id)));
    }
}

async fn trash(api: &Api, model: &mut Model, id: &str) {
    let is_live = model.is_live(id);
    let target = match model.0[id].is_folder {
        true => format!("/folders/{id}"),
        false if is_live => format!("/drives/{USER}/path/{}", model.path(id)),
        false => return, // has no path
    };
    let status = api.request(Method::DELETE, &target).send().await.unwrap().status().as_u16();
    assert_eq!(status, if is_live { 200 } else { 404 }, "{target}");
    if status == 200 {
        model.0.get_mut(id).unwrap().is_trashed = true;
    }
}

async fn restore(api: &Api, model: &mut Model, id: &str, name: &str) {
    let target = format!("/drives/{USER}/trash/{id}/restore");
    let (status, answer) = call(api, Method::POST, &target, json!({"name": name})).await;
    let parent = model.0[id].parent.clone();
    let expected = match (model.is_live(&parent), model.child(&parent, name)) {
        (false, _) => 404,
        (true, Some(_)) => 409,
        (true, None) => 200,
    };
    assert_eq!(status, expected, "{answer}");
    if status == 200 {
        let node = model.0.get_mut(id).unwrap();
        (node.is_trashed, node.name) = (false, name.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_in_memory_does_what_the_service_does() {
    let seed = std::env::var("DRIVE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("DRIVE_SEED={seed}");
    let acts = std::env::var("DRIVE_ACTS").ok().and_then(|text| text.parse().ok()).unwrap_or(ACTS);
    let cluster = TestCluster::migrated(2).await;
    let apis = [Api::start(&cluster).await, Api::start(&cluster).await, Api::start(&cluster).await];
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    for number in 0..acts {
        act(apis.choose(&mut random).unwrap(), &mut model, &mut random).await;
        if number % 50 == 49 {
            assert_eq!(listed(apis.choose(&mut random).unwrap()).await, model.live(), "after {number} acts");
        }
    }
    let mut files: Vec<Value> = Vec::new();
    for file in apis[0].get_json(&format!("/query/{USER}")).await.1["files"].as_array().unwrap() {
        files.push(json!([file["path"], file["size_bytes"]]));
    }
    let mut expected: Vec<Value> = model
        .live()
        .into_iter()
        .filter(|(_, is_folder, _)| !is_folder)
        .map(|(path, _, size)| json!([path, size]))
        .collect();
    files.sort_by_key(ToString::to_string);
    expected.sort_by_key(ToString::to_string);
    assert_eq!(files, expected);
    let done = shardrive(&["shards", "verify"], &cluster.variables()).await;
    assert_eq!(done.code, 0, "{done:?}");
}
