#!/bin/sh
# Installs what the recorder needs on Debian 12 (as root): the services, as Debian packages them, and pg8000.
# A policy-rc.d that answers 101 keeps the packages from starting their services by themselves.
set -eu

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi

# Debian would otherwise create and configure a cluster of its own in /var/lib/postgresql.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
    printf 'create_main_cluster = false\n' > /etc/postgresql-common/createcluster.conf

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends postgresql iproute2 util-linux
"${PYTHON:-python3}" -m pip install pg8000 pyarrow
