//! Where functions are in a program's file, so that the kernel can put probes on them: a uprobe wants
//! the offset in the file, a symbol table has addresses.

use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;

use crate::arch::Arch;
use crate::elf::ElfError;
use crate::fsio;

/// Offsets in the file of the functions called `names`, sorted, each once: names of one function give one
/// offset. Names that are not there are left out, so a stripped program gives none.
///
/// # Errors
/// [`ElfError`] where the file cannot be read or is no program.
pub fn function_offsets(path: &Path, names: &[&str]) -> Result<Vec<u64>, ElfError> {
    let bytes = fsio::read(path)?;
    let elf = Elf::parse(&bytes).map_err(|error| ElfError::NotElf {
        path: path.to_owned(),
        arch: Arch::HOST,
        reason: error.to_string(),
    })?;
    let in_file = |address: u64| {
        elf.program_headers.iter().find_map(|segment| {
            let inside = segment.p_type == PT_LOAD
                && (segment.p_vaddr..segment.p_vaddr + segment.p_filesz).contains(&address);
            inside.then(|| address - segment.p_vaddr + segment.p_offset)
        })
    };
    let mut offsets: Vec<u64> = elf
        .syms
        .iter()
        .filter(|symbol| symbol.is_function() && symbol.st_value != 0)
        .filter(|symbol| {
            elf.strtab.get_at(symbol.st_name).is_some_and(|name| names.contains(&name))
        })
        .filter_map(|symbol| in_file(symbol.st_value))
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_very_program_is_found_and_an_invented_one_is_not() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(function_offsets(&own, &["main"]).unwrap().len(), 1);
        assert!(function_offsets(&own, &["there_is_no_such_function"]).unwrap().is_empty());
        assert!(function_offsets(Path::new("/proc/version"), &["main"]).is_err());
    }
}
