//! Sets of slots: a bit mask for the database, a list for people.

use std::collections::BTreeMap;

use crate::shard::{SLOT_COUNT, Slot};

/// The bytes of a mask: 5,040 bits.
const MASK_BYTES: usize = 630;

/// One bit a slot, in the order in which PostgreSQL's `get_bit` counts.
#[must_use]
pub(in crate::reshard) fn mask(slots: &[Slot]) -> Vec<u8> {
    let mut mask = vec![0; MASK_BYTES];
    for slot in slots {
        if let Some(byte) = mask.get_mut(slot.index() / 8) {
            *byte |= 1 << (slot.index() % 8);
        }
    }
    mask
}

/// Reads `0-9,12`: numbers and ranges of slots.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_slots(text: &str) -> Result<Vec<Slot>, String> {
    let number = |text: &str| {
        let text = text.trim();
        let slot = text.parse().ok().and_then(Slot::new);
        slot.ok_or_else(|| format!("\"{text}\" is no slot; slots are the numbers from 0 to {}", SLOT_COUNT - 1))
    };
    // How many ranges begin and end at each slot: the work grows with the text, and not with what its ranges hold.
    let mut edges: BTreeMap<usize, i64> = BTreeMap::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("\"{part}\" ends before it begins"));
        }
        *edges.entry(first.index()).or_default() += 1;
        *edges.entry(last.index() + 1).or_default() -= 1;
    }
    let mut ranges = 0;
    let is_named = |slot: &Slot| {
        ranges += edges.get(&slot.index()).unwrap_or(&0);
        ranges > 0
    };
    Ok(Slot::all().filter(is_named).collect())
}

/// The same text again, as short as can be.
#[must_use]
pub fn show_slots(slots: &[Slot]) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for number in slots.iter().map(|slot| slot.number()) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let show = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_shown() {
        for (text, shown) in [
            ("0", "0"),
            ("3,1,2", "1-3"),
            ("0-5039", "0-5039"),
            ("7, 9-10 ,8,40", "7-10,40"),
            ("0-9,2-3,9,5-12", "0-12"),
        ] {
            assert_eq!(show_slots(&parse_slots(text).unwrap()), shown, "{text}");
        }
        for text in ["", "5040", "-1", "a", "3-1", "1,,2", "1-"] {
            assert!(parse_slots(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mask_has_the_bits_of_its_slots() {
        let mask = mask(&parse_slots("0,9,5039").unwrap());
        assert_eq!((mask.len(), mask[0], mask[1], mask[629]), (630, 1, 2, 128));
        assert_eq!(mask.iter().map(|byte| byte.count_ones()).sum::<u32>(), 3);
    }
}
