//! The words that a parameter or a member of an answer can be, each list from the code that knows it.

use serde_json::{Value, json};

use crate::audit::OperatorAction;
use crate::cache::CacheState;
use crate::http::response::problem_code::ProblemCode;
use crate::reshard::MoveStage;
use crate::shard::{CircuitBreaker, ShardState};

/// The words of an operation's query parameter; `None` if any text is valid.
pub(super) fn parameter_words(operation: &str, name: &str) -> Option<Vec<&'static str>> {
    Some(match name {
        "format" if operation == "list_tree" => vec!["lsjson"],
        "delimiter" => vec!["/"],
        "delete" => vec!["trash", "purge", "keep"],
        "order" => vec!["name", "-name"],
        "consistency" => vec!["strict", "eventual"],
        "format" => vec!["ndjson", "json", "csv", "lsjson"],
        "on_error" => vec!["skip", "abort"],
        "exact" => vec!["counts", "scan"],
        "act" => OperatorAction::ALL.iter().map(|act| act.as_str()).collect(),
        _ => return None,
    })
}

/// The members of answers with a list of words, by path in the document.
fn member_words() -> Vec<(&'static str, Vec<&'static str>)> {
    let codes = || ProblemCode::ALL.iter().map(|code| code.as_str());
    vec![
        ("Problem/properties/code", codes().collect()),
        ("AuditEntry/properties/act", OperatorAction::ALL.iter().map(|act| act.as_str()).collect()),
        ("AuditEntry/properties/outcome", vec!["begun", "accepted", "refused", "failed"]),
        ("AuditEntry/properties/scope", vec!["user", "service", "admin", "without sign-in", "command line"]),
        ("MoveEvent/properties/stage", MoveStage::ALL.iter().map(|stage| stage.as_str()).collect()),
        (
            "HealthAnswer/properties/cache",
            [CacheState::Healthy, CacheState::Unhealthy, CacheState::Disabled].map(CacheState::as_str).into(),
        ),
        (
            "HealthAnswer/properties/circuits/additionalProperties",
            [CircuitBreaker::Closed, CircuitBreaker::HalfOpen, CircuitBreaker::Open].map(CircuitBreaker::as_str).into(),
        ),
        (
            "HealthAnswer/properties/shards/additionalProperties",
            [ShardState::Healthy, ShardState::Unreachable].map(ShardState::as_str).into(),
        ),
        ("SlotMove/properties/kind", vec!["move", "drain", "rebalance"]),
        ("ProbeAnswer/properties/status", vec!["live", "ready"]),
        ("StrategyCost/properties/strategy", vec!["slots", "modulo", "ring"]),
    ]
}

/// Writes the words into the schemas, and adds the members that the serializer of a file adds.
pub(super) fn complete(document: &mut Value) {
    document["components"]["schemas"]["File"]["properties"]["user_id_text"] = json!({
        "type": "string",
        "description": "The same as a text, where the number is above 2^53 − 1 and readers that keep numbers as doubles \
            round it.",
    });
    for (place, words) in member_words() {
        if let Some(member) = document.pointer_mut(&format!("/components/schemas/{place}")) {
            member["enum"] = words.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::openapi::tests::document;

    #[test]
    fn every_list_of_words_has_its_place() {
        let document = document();
        for (place, words) in member_words() {
            let member = document.pointer(&format!("/components/schemas/{place}"));
            assert_eq!(member.map(|member| &member["enum"]), Some(&Value::from(words)), "{place}");
        }
    }
}
