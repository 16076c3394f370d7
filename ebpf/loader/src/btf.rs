//! Field offsets from the running kernel's BTF. A program built by rustc has no relocations for them.
//!
//! Reads only as much of the format as one field takes; see the kernel's `Documentation/bpf/btf.rst`.

use std::fs;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;

/// Where the program finds address spaces, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    /// `vm_mm` in `struct vm_area_struct`.
    pub(crate) vm_mm: u32,
    /// `mm` in `struct task_struct`.
    pub(crate) task_mm: u32,
}

/// Looks both up, or neither.
pub(crate) fn offsets() -> Option<Offsets> {
    let btf = fs::read("/sys/kernel/btf/vmlinux").ok()?;
    Some(Offsets { vm_mm: field_offset(&btf, "vm_area_struct", "vm_mm")?, task_mm: field_offset(&btf, "task_struct", "mm")? })
}

/// Byte offset of a direct member of a struct, or `None` if the data holds none such or makes no sense.
fn field_offset(btf: &[u8], structure: &str, field: &str) -> Option<u32> {
    if u16::from_le_bytes(btf.get(..2)?.try_into().ok()?) != MAGIC {
        return None;
    }
    let header: Vec<usize> = (1..6).map(|index| word(btf, index * 4).map(|value| value as usize)).collect::<Option<_>>()?;
    let [length, types_at, types_length, strings_at, strings_length] = header[..] else { return None };
    let part = |at: usize, size: usize| btf.get(length.checked_add(at)?..)?.get(..size);
    let (types, strings) = (part(types_at, types_length)?, part(strings_at, strings_length)?);
    let is_named = |offset: u32, name: &str| {
        strings.get(offset as usize..).is_some_and(|rest| rest.starts_with(name.as_bytes()) && rest.get(name.len()) == Some(&0))
    };
    let mut at = 0;
    while at < types.len() {
        let (name, info) = (word(types, at)?, word(types, at + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == KIND_STRUCT && is_named(name, structure) {
            // The top bit says that a member's offset shares its word with a bit-field size.
            let mask = if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
            return (0..count).find_map(|member| {
                let member = at + 12 + member * 12;
                is_named(word(types, member)?, field).then_some((word(types, member + 8)? & mask) / 8)
            });
        }
        at += 12 + trailer(kind, count)?;
    }
    None
}

/// Bytes that follow a type of this kind with this many parts.
fn trailer(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        3 => 12,
        // Struct, union, data section, 64-bit enumeration.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumeration, function prototype.
        6 | 13 => 8 * count,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_where_the_kernel_has_btf() {
        let Ok(btf) = fs::read("/sys/kernel/btf/vmlinux") else {
            crate::testing::skipped("the_field_is_found_where_the_kernel_has_btf", "the kernel offers no BTF");
            return;
        };
        let Offsets { vm_mm, task_mm } = offsets().expect("both fields are there");
        assert!(vm_mm > 0 && vm_mm < 256 && vm_mm.is_multiple_of(8), "{vm_mm}");
        assert!(task_mm > 0 && task_mm < 16_384 && task_mm.is_multiple_of(8), "{task_mm}");
        assert_eq!(field_offset(&btf, "list_head", "next"), Some(0));
        assert_eq!(field_offset(&btf, "list_head", "prev"), Some(8));
        assert_eq!(field_offset(&btf, "list_head", "pre"), None);
        assert_eq!(field_offset(&btf, "no_such_struct", "next"), None);
    }

    #[test]
    fn nonsense_is_no_answer_and_no_panic() {
        let mut bytes = vec![0x9f, 0xeb];
        assert_eq!(field_offset(&bytes, "a", "b"), None);
        bytes.resize(64, 0xff);
        assert_eq!(field_offset(&bytes, "a", "b"), None);
        assert_eq!(field_offset(b"", "a", "b"), None);
    }
}
