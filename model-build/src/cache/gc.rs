//! Keeping the store small.

use std::path::Path;

use crate::fsx;

/// One day, in nanoseconds.
const DAY: i128 = 24 * 3600 * 1_000_000_000;

/// Notes that a record was used, by its modification time, at most once a day.
pub(super) fn mark_used(record: &Path) {
    if fsx::stat(record).is_ok_and(|stat| fsx::now_ns() - stat.mtime_ns > DAY) {
        let _ = fsx::touch(record);
    }
}

/// Removes what killed processes left behind more than a day ago. Returns the bytes freed.
pub(super) fn sweep_temp(dir: &Path) -> u64 {
    let mut freed = 0;
    for path in fsx::list_dir(dir).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(fsx::TEMP_PREFIX)
            && let Ok(stat) = fsx::stat(&path)
            && fsx::now_ns() - stat.mtime_ns > DAY
            && fsx::remove_file(&path).is_ok()
        {
            freed += stat.len;
        }
    }
    freed
}
