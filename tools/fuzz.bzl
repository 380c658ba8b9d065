"""Fuzz targets that are ordinary tests in every other build."""

load("@rules_cc//cc:defs.bzl", "cc_test")

def cc_fuzz_test(name, srcs, corpus, deps = [], tags = [], **kwargs):
    """Declares LLVMFuzzerTestOneInput() in `srcs` as a libFuzzer program and as a regression test.

    Under --config=fuzz the target is a libFuzzer program, which tools/fuzz runs from a copy of the
    corpus. In all other builds it is a test with one case per corpus file.

    Args:
      name: of the target; tools/fuzz shows it.
      srcs: what defines LLVMFuzzerTestOneInput().
      corpus: label of a filegroup with the inputs to start from. At least one.
      deps: of srcs.
      tags: added to "fuzz", by which tools/fuzz finds the target.
      **kwargs: passed to cc_test.
    """
    cc_test(
        name = name,
        srcs = srcs,
        args = select({
            "//tools:fuzzing": [],
            "//conditions:default": ["$(rootpaths %s)" % corpus],
        }),
        data = [corpus],
        linkopts = select({
            "//tools:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        tags = tags + ["fuzz"],
        deps = deps + select({
            "//tools:fuzzing": [],
            "//conditions:default": ["//test/support:corpus_main"],
        }),
        **kwargs
    )
