"""A DATA_DIR that other users could change is refused, because it holds the database and the token secret."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from embedded.folders import make_private_folder, open_private_file
from embedded.postgres import Embedded
from embedded.programs import EmbeddedError

AS_ROOT = os.geteuid() == 0
OTHERS_WRITE = "other users may write to it"
root_only = pytest.mark.skipif(not AS_ROOT, reason="only root can give a file to another user")


def give_to_nobody(path: Path) -> None:
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)


def refusal(data_dir: Path) -> str:
    """The reason in the error message, without its beginning and the advice."""
    database = Embedded(data_dir, print)
    with pytest.raises(EmbeddedError) as raised:
        database.start()
    database.stop()
    begin, _, rest = str(raised.value).partition(" cannot be used (")
    reason, _, advice = rest.partition("): ")
    assert begin == f"DATA_DIR={data_dir}"
    assert advice == f"choose a folder of your own, for example DATA_DIR={Path.home()}/todo-data."
    assert not (data_dir / "postgres/data").exists()
    return reason


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
def test_a_folder_that_other_users_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", -1, 1 if AS_ROOT else -1)  # a group of others
    (tmp_path / "data").chmod(mode)
    assert refusal(tmp_path / "data") == f"{OTHERS_WRITE}: {tmp_path}/data"


def test_a_folder_below_one_that_other_users_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open/mine").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    assert refusal(tmp_path / "open/mine/data") == f"{OTHERS_WRITE}: {tmp_path}/open"
    assert not (tmp_path / "open/mine/data").exists()


def test_an_own_folder_in_a_shared_temporary_folder_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    assert make_private_folder(tmp_path / "shared/mine/data") == tmp_path / "shared/mine/data"
    for folder in ("mine", "mine/data"):
        assert stat.S_IMODE((tmp_path / "shared" / folder).stat().st_mode) == 0o700


@root_only
@pytest.mark.parametrize("name", ["somebodys", "somebodys/data"])
def test_a_folder_of_another_user_is_refused_even_for_root(tmp_path: Path, name: str) -> None:
    (tmp_path / "somebodys/data").mkdir(parents=True)
    give_to_nobody(tmp_path / name)
    assert refusal(tmp_path / "somebodys/data") == f"it belongs to another user, nobody: {tmp_path / name}"


@root_only
def test_a_folder_writable_by_a_group_without_other_members_is_accepted(tmp_path: Path) -> None:
    """On many systems each user has a group, which may write by default."""
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, 0, 0)
    folder.chmod(0o775)
    assert make_private_folder(folder) == folder


def test_an_own_link_to_an_own_folder_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("big disk")
    (tmp_path / "second").symlink_to(tmp_path / "link/data")
    assert make_private_folder(tmp_path / "second") == tmp_path / "big disk/data"


def test_circular_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "Too many levels of symbolic links" in refusal(tmp_path / "a")


@root_only
def test_a_link_that_another_user_made_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "shared/todo").symlink_to(tmp_path / "mine")
    give_to_nobody(tmp_path / "shared/todo")
    assert refusal(tmp_path / "shared/todo") == f"another user made this link: {tmp_path}/shared/todo"
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("name", ["lock", "secret"])
def test_a_linked_file_is_refused_and_its_target_unchanged(tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(tmp_path / "precious")
    assert refusal(tmp_path / "data") == f"it must be a file, not a link: {tmp_path}/data/{name}"
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("name", ["postgres", "postgres/data"])
def test_a_linked_subfolder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data/postgres").mkdir(parents=True)
    link = tmp_path / "data" / name
    if link.exists():
        link.rmdir()
    link.symlink_to(tmp_path / "elsewhere")
    database = Embedded(tmp_path / "data", print)
    with pytest.raises(EmbeddedError, match="it must be a folder, not a link"):
        database.start()
    database.stop()
    assert not list((tmp_path / "elsewhere").iterdir())


@root_only
def test_a_secret_file_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/secret").write_text("planted" * 5)
    give_to_nobody(tmp_path / "data/secret")
    assert refusal(tmp_path / "data") == f"it belongs to another user, nobody: {tmp_path}/data/secret"


def test_a_secret_file_that_other_users_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/secret").write_text("planted" * 5)
    (tmp_path / "data/secret").chmod(0o666)
    assert refusal(tmp_path / "data") == f"{OTHERS_WRITE}: {tmp_path}/data/secret"


def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock", 0o600)
    with pytest.raises(PermissionError, match="it must be a file"):
        open_private_file(tmp_path / "lock")


@root_only
def test_a_data_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """When root starts it, PostgreSQL runs as the owner of its data, but with the capability to enter every folder."""
    (tmp_path / "data/postgres/data").mkdir(parents=True)
    os.chown(tmp_path / "data/postgres/data", 12345, -1)
    database = Embedded(tmp_path / "data", print)
    with pytest.raises(EmbeddedError, match="it belongs to another user, number 12345"):
        database.start()
    database.stop()
