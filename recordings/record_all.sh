#!/bin/sh
# Records everything that is shipped, as it was made: run it from the repository root, as root, after install.sh.
# Three runs at a time on two cores; about nine minutes. PYTHON names the interpreter.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-python3}

# name, settings, seed, split; the last is the healthy twin of a test recording, a witness for the labels.
xargs -P 3 -L 1 sh -c '
    python=$0 folder=$1 name=$2 settings=$3 seed=$4 split=$5; shift 5
    "$python" -m recordings.record postgresql --settings "$settings" --seed "$seed" --split "$split" "$@" \
        --recording "postgresql-${name%-twin}" --duration 120 --output "$folder/$name.parquet"' \
    "$python" "$folder" <<RUNS
debian-1 debian 101 train
host-1 host 102 train
terse-1 terse 103 train
debian-2 debian 104 train
host-2 host 105 train
terse-2 terse 106 train
debian-3 debian 107 validation
host-3 host 108 validation
debian-4 debian 109 test
host-4 host 110 test
terse-3 terse 111 test
debian-4-twin debian 109 test --no-faults
RUNS

set --
for name in debian-1 host-1 terse-1 debian-2 host-2 terse-2 debian-3 host-3 debian-4 host-4 terse-3; do
    set -- "$@" "$folder/$name.parquet"
done
"$python" -m recordings.record --output recordings/postgresql.parquet --merge "$@"
"$python" -m recordings.describe recordings/postgresql.parquet --twin "$folder/debian-4-twin.parquet"
