"""Where gpubp was installed from."""

import pytest

from gpubp._core import installation
from gpubp._core.installation import install_command, requirement_in


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "pip install onnx onnxruntime"),
        ('{"url": "file:///no/such/folder", "dir_info": {}}', "pip install onnx onnxruntime"),
        ('{"url": "URI", "dir_info": {}}', 'pip install "PATH[onnx]"'),
        ('{"url": "URI", "dir_info": {"editable": true}}', 'pip install -e "PATH[onnx]"'),
        (
            '{"url": "https://example.org/r", "vcs_info": {"vcs": "git", "commit_id": "12"}}',
            'pip install "gpubp[onnx] @ git+https://example.org/r@12"',
        ),
    ],
    ids=["unknown or an index", "gone", "folder", "editable", "git"],
)
def test_an_extra_is_installed_from_where_gpubp_was(monkeypatch, tmp_path, text, expected):
    text = text and text.replace("URI", tmp_path.as_uri())
    monkeypatch.setattr(installation, "_direct_url", lambda: text)
    assert install_command("onnx onnxruntime", "onnx") == expected.replace("PATH", str(tmp_path))
    assert install_command("wings") == "pip install wings"
