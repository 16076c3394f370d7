//! Field offsets from the running kernel's BTF. A program built by rustc has no relocations for them.

use btf_rs::{Btf, Type};

/// Byte offset of `vm_mm` in `struct vm_area_struct`.
pub(crate) fn vm_mm_offset() -> Option<u32> {
    let btf = Btf::from_file("/sys/kernel/btf/vmlinux").ok()?;
    btf.resolve_types_by_name("vm_area_struct").ok()?.into_iter().find_map(|found| match found {
        Type::Struct(layout) => layout.members.iter().find_map(|member| {
            let name = btf.resolve_name(member).ok()?;
            (name == "vm_mm").then(|| member.bit_offset() / 8)
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_field_is_found_where_the_kernel_has_btf() {
        if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
            crate::testing::skipped("the_field_is_found_where_the_kernel_has_btf", "the kernel offers no BTF");
            return;
        }
        let offset = super::vm_mm_offset().expect("vm_area_struct has vm_mm");
        assert!(offset > 0 && offset < 256 && offset % 8 == 0, "{offset}");
    }
}
