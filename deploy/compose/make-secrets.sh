# Run by compose.yaml: generates the passwords and the token secret once. The volume "service" has those of the service,
# "owner" those that only the database and the migration need.
set -eu
[ ! -e /service/better_auth_secret ] || exit 0
umask 077
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
owner=$(random) service=$(random)
# The network between the containers is private, so no TLS on it.
printf %s "$owner" >/owner/password
printf %s "postgresql://postgres:$owner@database/postgres?sslmode=disable" >/owner/database_url
printf %s "$service" >/service/password
printf %s "postgresql://todo_service:$service@database/postgres?sslmode=disable" >/service/database_url
# The user of the service's image must read them; PostgreSQL's image reads its own as root.
chmod 755 /owner /service
random >/service/better_auth_secret
chown 10001:10001 /owner/database_url /service/database_url /service/better_auth_secret
