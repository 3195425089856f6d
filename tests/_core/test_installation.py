"""Where gpubp was installed from."""

import pytest

from gpubp._core.installation import requirement_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"url": "file:///srv/my%20clone", "dir_info": {"editable": true}}', "/srv/my clone"),
        ('{"url": "file:///srv/gpubp-0.1.0.tar.gz", "archive_info": {}}', "/srv/gpubp-0.1.0.tar.gz"),
        ('{"url": "https://example.org/gpubp.whl", "archive_info": {}}', "https://example.org/gpubp.whl"),
        (
            '{"url": "https://example.org/r", "vcs_info": {"vcs": "git", "commit_id": "12"}}',
            "git+https://example.org/r@12",
        ),
    ],
)
def test_it_is_installed_again_from_where_it_was(text, expected):
    assert requirement_in(text).replace("\\", "/") == expected
