//! Applies a JSON Merge Patch (RFC 7396) to a text, in one pass over each. All text that the patch does not name is
//! copied as written.
//!
//! A name that an object holds twice counts by its last member, as most readers take it: a patch of the name leaves
//! one.

use std::borrow::Cow;
use std::collections::HashMap;

use super::json_text::{BrokenJson, JsonCursor, MemberName};

/// `target` with `patch` applied. The patch is a document, so that its nesting is bounded; the target may be any JSON.
pub(super) fn merge(target: &str, patch: &str) -> Result<String, BrokenJson> {
    let mut cursor = JsonCursor::new(patch);
    if !cursor.is_at_object() {
        return Ok(patch.to_owned());
    }
    let changes = ObjectPatch::read(&mut cursor)?;
    let mut merged = String::with_capacity(target.len() + patch.len());
    let target = TargetValue::read(&mut JsonCursor::new(target), Some(&changes))?;
    changes.write_onto(target.object(), &mut merged);
    Ok(merged)
}

/// What a patch does to a member.
enum Change<'a> {
    Remove,
    Replace(&'a str),
    Merge(ObjectPatch<'a>),
}

impl<'a> Change<'a> {
    fn read(cursor: &mut JsonCursor<'a>) -> Result<Self, BrokenJson> {
        if cursor.is_at_object() {
            return ObjectPatch::read(cursor).map(Self::Merge);
        }
        Ok(match cursor.skip_value()? {
            "null" => Self::Remove,
            value => Self::Replace(value),
        })
    }
}

/// An object of a patch.
#[derive(Default)]
struct ObjectPatch<'a> {
    /// `None`: a later member has the same name.
    members: Vec<Option<(MemberName<'a>, Change<'a>)>>,
    places: HashMap<Cow<'a, [u8]>, usize>,
}

impl<'a> ObjectPatch<'a> {
    fn read(cursor: &mut JsonCursor<'a>) -> Result<Self, BrokenJson> {
        let mut patch = Self::default();
        cursor.read_members(|name, cursor| {
            let before = patch.places.insert(name.meaning()?, patch.members.len());
            if let Some(member) = before.and_then(|place| patch.members.get_mut(place)) {
                *member = None;
            }
            patch.members.push(Some((name, Change::read(cursor)?)));
            Ok(())
        })?;
        Ok(patch)
    }

    /// The place of the member with this name, and its change.
    fn find(&self, name: MemberName<'a>) -> Result<Option<(usize, &Change<'a>)>, BrokenJson> {
        let Some(&place) = self.places.get(&name.meaning()?) else { return Ok(None) };
        Ok(self.members.get(place).and_then(Option::as_ref).map(|(_, change)| (place, change)))
    }

    /// Writes the target with these changes; without a target, the result of the changes to an empty object.
    fn write_onto(&self, target: Option<&TargetObject<'a>>, out: &mut String) {
        let mut separator = '{';
        let mut begin_member = |name: MemberName<'a>, out: &mut String| {
            out.push(std::mem::replace(&mut separator, ','));
            out.push_str(name.as_written());
            out.push(':');
        };
        for (place, (name, changed_by, value)) in target.iter().flat_map(|target| target.members.iter().enumerate()) {
            let Some(changed_by) = changed_by else {
                begin_member(*name, out);
                out.push_str(value.text);
                continue;
            };
            let is_last = target.is_some_and(|target| target.last_changed.get(changed_by) == Some(&place));
            let change = self.members.get(*changed_by).and_then(Option::as_ref).filter(|_| is_last);
            match change {
                None | Some((_, Change::Remove)) => {}
                Some((_, Change::Replace(text))) => {
                    begin_member(*name, out);
                    out.push_str(text);
                }
                Some((_, Change::Merge(patch))) => {
                    begin_member(*name, out);
                    patch.write_onto(value.object(), out);
                }
            }
        }
        let is_new = |place: &usize| target.is_none_or(|target| !target.last_changed.contains_key(place));
        for (name, change) in
            (0..).zip(&self.members).filter(|(place, _)| is_new(place)).filter_map(|(_, member)| member.as_ref())
        {
            match change {
                Change::Remove => {}
                Change::Replace(text) => {
                    begin_member(*name, out);
                    out.push_str(text);
                }
                Change::Merge(patch) => {
                    begin_member(*name, out);
                    patch.write_onto(None, out);
                }
            }
        }
        out.push_str(if separator == '{' { "{}" } else { "}" });
    }
}

/// A value of the target: its text, and its members where the patch looks into it.
struct TargetValue<'a> {
    text: &'a str,
    object: Option<TargetObject<'a>>,
}

impl<'a> TargetValue<'a> {
    fn read(cursor: &mut JsonCursor<'a>, patch: Option<&ObjectPatch<'a>>) -> Result<Self, BrokenJson> {
        match patch.filter(|_| cursor.is_at_object()) {
            Some(patch) => Ok(Self { text: "", object: Some(TargetObject::read(cursor, patch)?) }),
            None => Ok(Self { text: cursor.skip_value()?, object: None }),
        }
    }

    fn object(&self) -> Option<&TargetObject<'a>> {
        self.object.as_ref()
    }
}

/// An object of the target that the patch changes.
#[derive(Default)]
struct TargetObject<'a> {
    /// Each member, and the place in the patch of its change.
    members: Vec<(MemberName<'a>, Option<usize>, TargetValue<'a>)>,
    /// For each place in the patch the last member that it changes.
    last_changed: HashMap<usize, usize>,
}

impl<'a> TargetObject<'a> {
    fn read(cursor: &mut JsonCursor<'a>, patch: &ObjectPatch<'a>) -> Result<Self, BrokenJson> {
        let mut object = Self::default();
        cursor.read_members(|name, cursor| {
            let (changed_by, inner) = match patch.find(name)? {
                Some((place, Change::Merge(inner))) => (Some(place), Some(inner)),
                Some((place, _)) => (Some(place), None),
                None => (None, None),
            };
            if let Some(place) = changed_by {
                object.last_changed.insert(place, object.members.len());
            }
            object.members.push((name, changed_by, TargetValue::read(cursor, inner)?));
            Ok(())
        })?;
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::time::{Duration, Instant};

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn merge_patches_of_the_rfc() {
        for (target, patch, merged) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge(target, patch).unwrap(), merged, "{target} + {patch}");
        }
    }

    #[test]
    fn what_a_patch_does_not_name_stays_as_it_was_written() {
        let target = r#"{"price":9.50,"big":123456789012345678901234567890,"\u0073":{ "n" : null }}"#;
        let expected = r#"{"price":9.50,"big":123456789012345678901234567890,"\u0073":{ "n" : null },"new":1e2}"#;
        assert_eq!(merge(target, r#"{"new":1e2}"#).unwrap(), expected);
        assert_eq!(merge(&format!("  {target}\n"), r#"{"new":1e2}"#).unwrap(), expected, "as psql may store it");
        assert_eq!(merge(r#"{"\u0061":1}"#, r#"{"a":2}"#).unwrap(), r#"{"\u0061":2}"#, "one name, written twice");
    }

    /// No Rust text can hold these names; no member may be lost for this reason.
    #[test]
    fn names_with_half_a_surrogate_pair_keep_all_members() {
        let target = r#"{"user_id":7,"\ud83d":1,"keep":"me","nested":{"\udc00":1,"also":"me"}}"#;
        let merged = r#"{"user_id":7,"\ud83d":1,"keep":"me","nested":{"\udc00":1,"also":"me"},"x":1}"#;
        assert_eq!(merge(target, r#"{"x":1}"#).unwrap(), merged);
        let merged = r#"{"user_id":7,"keep":"me","nested":{"\udc00":2,"also":"me"}}"#;
        assert_eq!(merge(target, r#"{"\uD83D":null,"nested":{"\uDC00":2}}"#).unwrap(), merged);
        assert_eq!(merge("{}", r#"{"\ud83d":{"\ud83d":1}}"#).unwrap(), r#"{"\ud83d":{"\ud83d":1}}"#);
    }

    #[test]
    fn of_members_with_one_name_the_last_counts() {
        for (target, patch, merged) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"b":4}"#, r#"{"a":1,"b":4,"a":3}"#),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":4}"#, r#"{"b":2,"a":4}"#),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":null}"#, r#"{"b":2}"#),
            (r#"{"a":{"x":1},"a":{"y":1}}"#, r#"{"a":{"z":1}}"#, r#"{"a":{"y":1,"z":1}}"#),
            (r#"{"a":1}"#, r#"{"a":2,"b":null,"a":3,"b":4}"#, r#"{"a":3,"b":4}"#),
        ] {
            assert_eq!(merge(target, patch).unwrap(), merged, "{target} + {patch}");
        }
    }

    #[test]
    fn a_text_that_is_broken_is_refused_and_not_taken_for_empty() {
        assert_eq!(merge(r#"{"a":1"#, r#"{"x":1}"#), Err(BrokenJson));
        assert_eq!(merge("", r#"{"x":1}"#), Err(BrokenJson));
    }

    fn object(members: usize, value: &str) -> String {
        let mut text = String::from("{");
        for number in 0..members {
            let _ = write!(text, "{}\"m{number}\":{value}", if number == 0 { "" } else { "," });
        }
        text + "}"
    }

    fn nested(depth: usize, inside: &str) -> String {
        format!("{}{inside}{}", "{\"a\":".repeat(depth), "}".repeat(depth))
    }

    /// A merge whose work grew as the square of its input would take 256 times as long for 16 times as much.
    #[test]
    fn work_grows_as_the_input_does() {
        type Case = (&'static str, fn(usize) -> (String, String));
        let cases: [Case; 5] = [
            ("the same names", |n| (object(n, "1"), object(n, "2"))),
            ("new names", |n| (object(n, "1"), object(n, "2").replace('m', "n"))),
            ("one name again and again", |n| {
                (format!("{{\"a\":0{}}}", ",\"a\":{}".repeat(n)), nested(1, &object(n, "null")))
            }),
            ("a patch of one name", |n| {
                ("{\"a\":0}".into(), format!("{{\"a\":0{}}}", ",\"a\":{\"b\":null}".repeat(n)))
            }),
            ("deep objects", |n| (nested(100, &object(n, "1")), nested(100, &object(n, "2")))),
        ];
        for (name, case) in cases {
            let time = |members| {
                let (target, patch) = case(members);
                let once = || {
                    let began = Instant::now();
                    merge(&target, &patch).unwrap();
                    began.elapsed()
                };
                (0..5).map(|_| once()).min().unwrap_or(Duration::MAX)
            };
            let (small, large) = (time(2_000), time(32_000));
            assert!(large < small * 100, "{name}: {small:?} for 2,000 members, {large:?} for 32,000");
        }
    }
}
