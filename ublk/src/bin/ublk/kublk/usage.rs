//! `kublk help`. The words are ours; commands, options and defaults are the original's.

use crate::exit::Failure;
use crate::out;

const TEXT: &str = "\
kublk add|recover -t null|loop|stripe|fault_inject [-n ID] [-q QUEUES] [-d DEPTH] [options] [FILE...]
    -q queues, 2 unless given, 32 at most    -d depth, 128 unless given, 1024 at most
    data: -g (get data)  -u (user copy)  -z (zero copy)  --auto_zc  --auto_zc_fallback  --shmem_zc
          --htlb FILE  --rdonly_shmem_buf  -b (batch)  --rotate_auto_buf
    recovery: -r 0|1  -i 0|1 (reissue)  -e 0|1 (fail I/O)
    threads: --nthreads N  --per_io_tasks
    integrity: --metadata_size N  --integrity_capable  --integrity_reftag  --pi_offset N
               --csum_type ip|t10dif|nvme  --tag_size N
    --io_desc_size N  --no_auto_part_scan  --no_ublk_fixed_fd  --foreground  --quiet
    stripe: --chunk_size BYTES    fault_inject: --delay_us N  --die_during_fetch 1
    `recover` needs -n and what the device was added with.
kublk del -n ID | -a
kublk stop -n ID [--safe]
kublk list [-n ID]
kublk features
kublk update_size -n ID -s BYTES
kublk quiesce -n ID
kublk set_params [-n ID] [-q QUEUES] [-d DEPTH] [-u] [--zoned] [--param_types basic[,zoned]|none]
    [--logical_bs_shift N] [--physical_bs_shift N] [--io_min_shift N] [--io_opt_shift N]
    [--max_sectors N] [--chunk_sectors N] [--dev_sectors N] [--max_zone_append_sectors N]
    [--max_open_zones N] [--max_active_zones N]";

pub(super) fn print() -> Result<(), Failure> {
    out::line(TEXT)
}
