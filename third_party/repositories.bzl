"""Repository rules for the two dependencies that http_archive and local_repository cannot express."""

_ABSEIL_LOCAL_SHA256 = "abfe2897f3a30edaa74bc34365afe3c2a3cd012091a97dc7e008f7016adcd5fe"
_ABSEIL_UPSTREAM_SHA256 = "91ac87d30cc6d79f9ab974c51874a704de9c2647c40f6932597329a282217ba8"

def _abseil_archive_impl(ctx):
    # Debian repacks abseil's release: the same files under another top folder, so another sha256,
    # which is why --distdir (it goes by the upstream checksum) cannot serve it.
    local = "%s/.cache/gofer/distdir/abseil_20220623.1.orig.tar.gz" % ctx.os.environ.get("HOME", "")
    if ctx.path(local).exists:
        ctx.download_and_extract(
            url = "file://" + local,
            sha256 = _ABSEIL_LOCAL_SHA256,
            stripPrefix = "abseil-20220623.1",
        )
    else:
        ctx.download_and_extract(
            url = "https://github.com/abseil/abseil-cpp/archive/refs/tags/20220623.1.tar.gz",
            sha256 = _ABSEIL_UPSTREAM_SHA256,
            stripPrefix = "abseil-cpp-20220623.1",
        )

abseil_archive = repository_rule(
    implementation = _abseil_archive_impl,
    doc = "abseil 20220623.1, from Debian's tarball where there is one, else from upstream.",
)

def _debian_rules_cc_impl(ctx):
    # rules_cc 0.0.4 wants use_cpp_toolchain(), which Bazel 4.2.3 does not have yet; what the
    # function returns there is the list written here in its place.
    ctx.execute(["cp", "-rL", "/usr/share/bazel/rules/cc/.", "."])
    for name in ["cc_flags_supplier.bzl", "compiler_flag.bzl"]:
        path = "cc/private/rules_impl/" + name
        text = ctx.read(path)
        text = text.replace(", \"use_cpp_toolchain\"", "")
        text = text.replace("use_cpp_toolchain()", "[\"@bazel_tools//tools/cpp:toolchain_type\"]")
        ctx.file(path, text, executable = False)

debian_rules_cc = repository_rule(
    implementation = _debian_rules_cc_impl,
    doc = "Debian's bazel-rules-cc, mended to load in Debian's Bazel.",
    local = True,
)
