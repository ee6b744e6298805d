//! The ranges of this process's address space, as `/proc/self/smaps` lists them.

use std::io;

use crate::AddressRange;

/// One VMA: neighbouring pages of equal kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vma {
    /// Its addresses.
    pub span: AddressRange,
    /// Its protection, as `rw-p`.
    pub permissions: String,
    /// What it maps: a path, `[heap]`, or nothing.
    pub name: String,
    /// Bytes in memory.
    pub rss_bytes: usize,
    /// Bytes of anonymous memory mapped by entries of 2 MiB.
    pub anon_huge_bytes: usize,
    /// Bytes of shared memory mapped by entries of 2 MiB.
    pub shmem_huge_bytes: usize,
    /// Kernel flags of two letters each: `um` missing, `ui` minor, `uw` write protection, `hg` huge page advice.
    pub flags: Vec<String>,
}

/// Lists the VMAs of this process.
///
/// # Errors
///
/// Fails where `/proc` is not mounted.
pub fn vmas() -> io::Result<Vec<Vma>> {
    Ok(parse(&std::fs::read_to_string("/proc/self/smaps")?))
}

/// Finds the VMA at an address.
///
/// # Errors
///
/// Fails where `/proc` is not mounted.
pub fn vma_at(address: usize) -> io::Result<Option<Vma>> {
    Ok(vmas()?.into_iter().find(|vma| vma.span.contains(address)))
}

/// Counts the VMAs; `vm.max_map_count` bounds them.
///
/// # Errors
///
/// Fails where `/proc` is not mounted.
pub fn vma_count() -> io::Result<usize> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count())
}

/// Adds up what the VMAs that touch `span` map by entries of 2 MiB, at most the span itself.
pub(crate) fn huge_bytes(vmas: &[Vma], span: AddressRange) -> usize {
    let touching = vmas.iter().filter(|vma| vma.span.overlaps(span));
    let bytes: usize = touching.map(|vma| vma.anon_huge_bytes + vma.shmem_huge_bytes).sum();
    bytes.min(span.len())
}

/// Parses the text; lines it does not understand are passed over.
fn parse(text: &str) -> Vec<Vma> {
    let mut vmas: Vec<Vma> = Vec::new();
    for line in text.lines() {
        match (parse_head(line), vmas.last_mut()) {
            (Some(vma), _) => vmas.push(vma),
            (None, Some(vma)) => parse_field(vma, line),
            (None, None) => {}
        }
    }
    vmas
}

/// Parses `7f00-7f01 rw-p 00000000 00:01 42   /path`.
fn parse_head(line: &str) -> Option<Vma> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let permissions = rest.split(' ').next()?.to_owned();
    // Permissions, offset, device and inode come first.
    let name = rest.splitn(5, ' ').nth(4).unwrap_or("").trim().to_owned();
    Some(Vma {
        span: AddressRange::new(start, end.checked_sub(start)?).ok()?,
        permissions,
        name,
        rss_bytes: 0,
        anon_huge_bytes: 0,
        shmem_huge_bytes: 0,
        flags: Vec::new(),
    })
}

/// Parses `Rss:   4 kB` or `VmFlags: rd wr`.
fn parse_field(vma: &mut Vma, line: &str) {
    let Some((key, value)) = line.split_once(':') else { return };
    let kib = value.trim().trim_end_matches(" kB").parse().unwrap_or(0_usize);
    match key {
        "Rss" => vma.rss_bytes = kib * 1024,
        "AnonHugePages" => vma.anon_huge_bytes = kib * 1024,
        "ShmemPmdMapped" => vma.shmem_huge_bytes = kib * 1024,
        "VmFlags" => vma.flags = value.split_whitespace().map(str::to_owned).collect(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
7f5000000000-7f5000200000 rw-p 00000000 00:00 0 
Size:               2048 kB
Rss:                2044 kB
AnonHugePages:      2048 kB
ShmemPmdMapped:        0 kB
VmFlags: rd wr mr um hg 
7f5000200000-7f5000600000 rw-s 00001000 00:01 42                         /memfd:shared (deleted)
Rss:                   4 kB
ShmemPmdMapped:     4096 kB
";

    #[test]
    fn fields_belong_to_the_range_above_them() {
        let [first, second] = &parse(TEXT)[..] else { panic!("two ranges") };
        assert_eq!(first.span, AddressRange::new(0x7f50_0000_0000, 2 << 20).expect("aligned"));
        assert_eq!((first.rss_bytes, first.anon_huge_bytes), (2044 << 10, 2 << 20));
        assert_eq!(first.flags, ["rd", "wr", "mr", "um", "hg"]);
        assert_eq!((second.name.as_str(), second.permissions.as_str()), ("/memfd:shared (deleted)", "rw-s"));
        assert_eq!((second.anon_huge_bytes, second.shmem_huge_bytes), (0, 4 << 20));
    }

    #[test]
    fn huge_bytes_do_not_exceed_the_span() {
        let vmas = parse(TEXT);
        assert_eq!(huge_bytes(&vmas, vmas[1].span), 4 << 20);
        assert_eq!(huge_bytes(&vmas, vmas[1].span.part(0, 4096).expect("inside")), 4096);
    }

    #[test]
    fn own_stack_is_found() {
        let local = 0_u8;
        let vma = vma_at((&raw const local).addr()).expect("proc is mounted").expect("mapped");
        assert!(vma.permissions.starts_with("rw"), "{vma:?}");
        assert!(vma_at(0).expect("proc is mounted").is_none());
        assert!(vma_count().expect("proc is mounted") > 3);
    }
}
