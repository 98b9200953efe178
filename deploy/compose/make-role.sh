# Run by compose.yaml: creates the service's role, with the password of its connection string. It may run again.
set -eu
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --dbname="$(cat /owner/database_url)" --file=/role.sql \
    --command="alter role todo_service password '$(cat /service/password)'"
