/* Nothing in a release. The tests build a second agent with WEFT_ABI_TEST_PAD, in which some values are
 * longer and some tables larger, so that upgrade and downgrade change the shape of real maps. */
#ifndef WEFT_BPF_ABI_PAD_H
#define WEFT_BPF_ABI_PAD_H

#ifdef WEFT_ABI_TEST_PAD
#define WEFT_ABI_PAD __u64 test_pad;
#define WEFT_ABI_PADDING 8
#define WEFT_ABI_MORE_ROWS 64u
#else
#define WEFT_ABI_PAD
#define WEFT_ABI_PADDING 0
#define WEFT_ABI_MORE_ROWS 0u
#endif

#endif
