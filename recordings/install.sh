#!/bin/sh
# Installs what the recorder needs on Debian 12 (as root): the services, as Debian packages them, and the Python drivers
# their clients speak through (pyproject's extra `record`).
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
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
apt-get update
apt-get install --yes --no-install-recommends \
    iproute2 iptables openssl util-linux \
    postgresql mariadb-server redis-server nginx-light apache2 haproxy squid tomcat10 default-jdk-headless \
    rabbitmq-server mosquitto etcd-server zookeeper openssh-server openssh-client bind9 postfix
"${PYTHON:-python3}" -m pip install dnspython pg8000 pyarrow pymysql
