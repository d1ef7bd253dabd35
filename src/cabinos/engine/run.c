// run.c: a language model is two files, this one and a GGUF full of parameters.
//
//     cc -O3 -march=native run.c -o run -lm -lpthread && ./run model.gguf -p "Once upon a time"
//
// Runs any Llama-family GGUF (Llama, Mistral, Qwen2, Qwen3 and kin) on CPUs, offline. Without its
// main, and with library.c around it, it is the shared library under cabinos.engine.
//
// The story, top to bottom: vectors, formats, activations, tiles (the two inner kernels), GGUF,
// model and strips, threads, KV pages, attention, forward, tokenizer, sampler, main. Four ideas
// carry it:
//   strips   Every matrix is stored as strips of 16 output rows, interleaved so that one SIMD lane
//            is one row: no horizontal sums, no shuffles, and one sequential stream per thread.
//   tiles    One strip times up to TILE rows of activations; the same code serves one token, many
//            sequences and a whole prompt, so a row's result never depends on its neighbours.
//   pages    Keys and values live in pages of 16 positions, laid out as strips too, so attention
//            runs on the same tiles. Pages are counted references: fork shares them.
//   order    Every float operation has one fixed order and explicit fused multiply-adds. Logits are
//            bit-identical for any batch, chunking, thread count and (quantised) instruction set.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
#define CABIN_API __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

enum { ROWS = 16, GROUP = 32, PAGE = 16, CHUNK = 16 * PAGE };  // CHUNK: positions, as is PAGE
enum { BATCH = 256, OWN = 8192 };  // tokens in one pass; values a thread packs for itself
enum { INVALID = -6, OVERFLOW, NO_PAGES, NO_MEMORY, UNSUPPORTED, BAD_FILE };  // up to -1
static _Thread_local char error_text[512];
static _Thread_local int error_code;

__attribute__((format(printf, 2, 3))) static bool fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error_text, sizeof error_text, format, args);
    va_end(args);
    error_code = code;
    return false;
}

// ---- Vectors: W lanes of 32 bits; BLOCKS of them make the 16 rows of a strip --------------------
// Few operations need intrinsics (fused multiply-add, two dot products, widening loads); each has
// its plain C twin in the last branch, equal bit for bit. TILE is the most rows of activations in a
// tile, FLOATS the most whose float sums fit the registers; from FETCH rows on it pays to prefetch
// the weights, AHEAD bytes ahead.

#if defined(__AVX512VNNI__) && defined(__AVX512BF16__) && defined(__AVX512BW__)
enum { W = 16, TILE = 8, FLOATS = 8, UNSIGNED_DOT = 1 };
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
enum { W = 8, TILE = 4, FLOATS = 2, UNSIGNED_DOT = 0 };
#define CABIN_AVX2
#elif defined(__ARM_FEATURE_DOTPROD)
enum { W = 4, TILE = 4, FLOATS = 4, UNSIGNED_DOT = 0 };
#define CABIN_NEON
#else
enum { W = 4, TILE = 4, FLOATS = 4, UNSIGNED_DOT = 1 };
#define CABIN_PLAIN
#endif
#if defined(CABIN_AVX2)
enum { FETCH = 1, AHEAD = 2048 };
#else
enum { FETCH = 2, AHEAD = 4608 };
#endif
enum { BLOCKS = ROWS / W };
typedef float vf __attribute__((vector_size(4 * W), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * W), may_alias));
typedef float vf_loose __attribute__((vector_size(4 * W), aligned(1), may_alias));
typedef int32_t vi_loose __attribute__((vector_size(4 * W), aligned(1), may_alias));
typedef uint8_t vb_loose __attribute__((vector_size(W), aligned(1), may_alias));

INLINE vf load(const float *p) { return *(const vf_loose *)p; }
INLINE void store(float *p, vf x) { *(vf_loose *)p = x; }
INLINE vi load_bytes(const uint8_t *p) { return *(const vi_loose *)p; }
INLINE vf splat(float x) { return x - (vf){0}; }
INLINE vi splat_i(int32_t x) { return x - (vi){0}; }
INLINE vf select_vf(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE vf max_vf(vf a, vf b) { return select_vf(a > b, a, b); }

INLINE float bits_to_float(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
INLINE float half_at(const uint8_t *p) {  // an IEEE half float at any address
    uint32_t h = (uint32_t)(p[0] | p[1] << 8), exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 0) return (h & 0x8000 ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
    exponent = exponent == 31 ? 255 : exponent + 112;
    return bits_to_float((h & 0x8000) << 16 | exponent << 23 | mantissa << 13);
}
INLINE uint32_t float_to_bf16(float f) {  // round to nearest even; NaN stays NaN
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 64 : rounded;
}

INLINE vf fma_vf(vf a, vf b, vf c) {  // a * b + c with one rounding
#if defined(CABIN_AVX2)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(CABIN_NEON)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif !defined(CABIN_PLAIN)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    for (int i = 0; i < W; i++) c[i] = fmaf(a[i], b[i], c[i]);
    return c;
#endif
}

INLINE vf load_half(const uint8_t *p) {  // W IEEE half floats
#if defined(CABIN_AVX2)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
#elif defined(CABIN_NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const void *)p)));
#elif !defined(CABIN_PLAIN)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#else
    vf x;
    for (int i = 0; i < W; i++) x[i] = half_at(p + 2 * i);
    return x;
#endif
}

INLINE vi load_u8(const uint8_t *p) {  // W bytes, each widened to a lane
#if defined(CABIN_AVX2)
    return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p));
#elif !defined(CABIN_NEON) && !defined(CABIN_PLAIN)
    return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
#else
    return __builtin_convertvector(*(const vb_loose *)p, vi);
#endif
}

// With 16 registers, gcc had better not load twice, nor add late what it must spill until then.
#if defined(CABIN_AVX2)
#define HOLD(x) __asm__("" : "+x"(x))
#else
#define HOLD(x)
#endif

// sum[lane] += the dot product of the lane's 4 unsigned codes with 4 signed activations. Where the
// hardware has no unsigned x signed form (UNSIGNED_DOT 0), 8-bit codes are taken as code - 128.
// AVX2 adds pairs of products in 16 bits. Short codes stay there, in *pairs, for as many of a
// group's 8 vectors (at: which) as cannot overflow; the last of such a run adds them to sum.
INLINE vi dot4(vi sum, vi *pairs, vi codes, int32_t activations, const int bits, const int at) {
    vi a = splat_i(activations);
#if defined(CABIN_AVX2)
    __m256i w = (__m256i)codes, x = (__m256i)a;
    const int run = bits > 5 ? 1 : 128 >> bits;  // run * 2 * 127 * 2^bits < 2^15
    if (bits == 8) {
        w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        x = _mm256_sign_epi8(x, w);
        w = _mm256_abs_epi8(w);
    }
    x = _mm256_maddubs_epi16(w, x);
    if (at % run > 0) x = _mm256_add_epi16(x, (__m256i)*pairs);
    HOLD(x);
    *pairs = (vi)x;
    if (at % run == run - 1) sum += (vi)_mm256_madd_epi16(x, _mm256_set1_epi16(1));
#elif defined(CABIN_NEON)
    if (bits == 8) codes ^= splat_i((int32_t)0x80808080);
    sum = (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)codes, (int8x16_t)a);
#elif !defined(CABIN_PLAIN)
    sum = (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)a);
#else
    for (int j = 0; j < 32; j += 8)
        sum += ((codes >> j) & 255) * ((a << (24 - j)) >> 24);
#endif
    (void)pairs, (void)bits, (void)at;
    return sum;
}

// sum[lane] += w.odd * x.odd, then += w.even * x.even, each fused: the order of vdpbf16ps. A Two is
// two bf16 activations; AVX2 has them widened beforehand, when they are packed.
#if defined(CABIN_AVX2)
typedef struct { float even, odd; } Two;
INLINE void put_two(Two *x, const uint16_t h[2]) {
    *x = (Two){bits_to_float((uint32_t)h[0] << 16), bits_to_float((uint32_t)h[1] << 16)};
}
INLINE vf dot2(vf sum, vi w, Two x) {
    sum = fma_vf((vf)(w & splat_i((int32_t)0xffff0000)), splat(x.odd), sum);
    return fma_vf((vf)(w << 16), splat(x.even), sum);
}
#else
typedef uint32_t Two;
INLINE void put_two(Two *x, const uint16_t h[2]) { memcpy(x, h, sizeof *x); }
INLINE vf dot2(vf sum, vi w, Two two) {
#if !defined(CABIN_PLAIN) && !defined(CABIN_NEON)
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)splat_i((int32_t)two));
#else
    vi high = splat_i((int32_t)0xffff0000), x = splat_i((int32_t)two);
    sum = fma_vf((vf)(w & high), (vf)(x & high), sum);
    return fma_vf((vf)(w << 16), (vf)(x << 16), sum);
#endif
}
#endif

// Denormals are flushed to zero while the model runs, as the bf16 dot product does in hardware.
// Takes the state to enter (UINT64_MAX: flush) and returns the one to go back to.
static uint64_t set_denormals(uint64_t state) {
    uint64_t old = 0;
#if defined(__x86_64__)
    old = _mm_getcsr();
    _mm_setcsr(state == UINT64_MAX ? (uint32_t)old | 0x8040 : (uint32_t)state);
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" ::"r"(state == UINT64_MAX ? old | 1 << 24 : state));
#endif
    return old;
}

// exp(x) = 2^r * 2^f with r the nearest integer to x / ln 2; 2^f by its Taylor polynomial.
INLINE vf exp_vf(vf x) {
    x = max_vf(x, splat(-87.0f));
    x = select_vf(x < 88.0f, x, splat(88.0f));
    vf t = x * 1.44269504f, r = (t + 12582912.0f) - 12582912.0f, f = t - r;
    vf p = splat(1.5353362e-4f);
    p = fma_vf(p, f, splat(1.3398874e-3f));
    p = fma_vf(p, f, splat(9.6184373e-3f));
    p = fma_vf(p, f, splat(5.5503324e-2f));
    p = fma_vf(p, f, splat(0.24022648f));
    p = fma_vf(p, f, splat(0.69314720f));
    p = fma_vf(p, f, splat(1.0f));
    return (vf)((vi)p + (__builtin_convertvector(r, vi) << 23));
}

INLINE float sum_rows(const vf x[BLOCKS]) {  // over 16 lanes, always in the same order
    float s[ROWS];
    for (int b = 0; b < BLOCKS; b++) store(s + b * W, x[b]);
    for (int n = ROWS / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

// ---- Formats: how GGUF stores weights, and how strips do ----------------------------------------
// An integer strip is, for each group of 32 columns: a 32-byte header, the low nibbles (256 bytes:
// vector v holds columns 4v.. in its low and 16+4v.. in its high nibbles; 8-bit codes take 512
// bytes), then the bits above the nibble. 32-bit lane r of every vector belongs to row r. Headers:
//   SCALE   w = d * (code - offset)           16 halves d
//   MINS    w = d * s * code - dmin * m       16 bytes s, 16 bytes m; 16 d and 16 dmin per 8 groups
//   HALVES  w = d * s[half] * (code - offset) 2 x 16 signed bytes s; 16 halves d per 8 groups
// A float strip is a [column][row] array; bf16 keeps two columns side by side: [column/2][row][2].
// All are permutations of the file's own numbers: nothing is rounded on the way.

enum { F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K, FORMATS };
enum { REAL, SCALE, MINS, HALVES };
typedef struct {
    const char *name;
    int ggml;                // type number in GGUF
    int columns, bytes;      // of one block in GGUF
    int bits, offset, header;
} Format;
static const Format formats[FORMATS] = {
    [F32] = {"F32", 0, 1, 4, 32, 0, REAL},       [F16] = {"F16", 1, 1, 2, 16, 0, REAL},
    [BF16] = {"BF16", 30, 1, 2, 16, 0, REAL},    [Q8_0] = {"Q8_0", 8, 32, 34, 8, 128, SCALE},
    [Q4_0] = {"Q4_0", 2, 32, 18, 4, 8, SCALE},   [Q5_0] = {"Q5_0", 6, 32, 22, 5, 16, SCALE},
    [Q4_K] = {"Q4_K", 12, 256, 144, 4, 0, MINS}, [Q5_K] = {"Q5_K", 13, 256, 176, 5, 0, MINS},
    [Q6_K] = {"Q6_K", 14, 256, 210, 6, 32, HALVES},
};

INLINE size_t group_bytes(int f) {  // of one group of 32 columns in an integer strip
    return 32 + (size_t)formats[f].bits * ROWS * GROUP / 8;
}
INLINE size_t super_bytes(int f) {  // of the scales in front of every 8 groups
    return formats[f].header == MINS ? 64 : formats[f].header == HALVES ? 32 : 0;
}
static size_t strip_bytes(int f, int columns) {
    if (formats[f].header == REAL) return (size_t)columns * ROWS * formats[f].bits / 8;
    return columns / GROUP * group_bytes(f) + columns / 256 * super_bytes(f);
}
INLINE size_t group_offset(int f, int g) {
    return g * group_bytes(f) + (super_bytes(f) ? (g / 8 + 1) * super_bytes(f) : 0);
}

// Reads group g of one GGUF row: 32 codes, this row's part of the header, and d, dmin where shared.
static void read_group(int f, const uint8_t *row, int g, uint8_t codes[GROUP], uint8_t header[2],
                       uint8_t super[4]) {
    const uint8_t *p = row + (size_t)(g * GROUP / formats[f].columns) * formats[f].bytes;
    int j = g % 8;  // group within a block of 256
    uint32_t high = 0;
    switch (f) {
    case Q8_0:
        memcpy(header, p, 2);
        for (int k = 0; k < 32; k++) codes[k] = p[2 + k] ^ 0x80;
        break;
    case Q5_0:
    case Q4_0:  // d, [32 high bits,] nibbles
        if (f == Q5_0) memcpy(&high, p + 2, 4);
        memcpy(header, p, 2);
        p += f == Q5_0 ? 6 : 2;
        for (int k = 0; k < 32; k++)
            codes[k] = (uint8_t)((k < 16 ? p[k] & 15 : p[k - 16] >> 4) | (high >> k & 1) << 4);
        break;
    case Q4_K:
    case Q5_K: {  // d, dmin, 12 bytes of packed 6-bit scales and mins, [high bits,] nibbles
        const uint8_t *s = p + 4, *bits = p + 16, *q = p + (f == Q5_K ? 48 : 16) + j / 2 * 32;
        memcpy(super, p, 4);
        header[0] = j < 4 ? s[j] & 63 : (uint8_t)((s[j + 4] & 15) | s[j - 4] >> 6 << 4);
        header[1] = j < 4 ? s[j + 4] & 63 : (uint8_t)(s[j + 4] >> 4 | s[j] >> 6 << 4);
        for (int k = 0; k < 32; k++) {
            codes[k] = j % 2 ? q[k] >> 4 : q[k] & 15;
            if (f == Q5_K) codes[k] |= (uint8_t)((bits[k] >> j & 1) << 4);
        }
        break;
    }
    case Q6_K: {  // 128 bytes of nibbles, 64 of high bits, 16 signed scales, d
        const uint8_t *q = p + j / 4 * 64 + j % 2 * 32, *bits = p + 128 + j / 4 * 32;
        memcpy(super, p + 208, 2);
        memcpy(header, p + 192 + 2 * j, 2);
        for (int k = 0; k < 32; k++)
            codes[k] = (uint8_t)((j % 4 < 2 ? q[k] & 15 : q[k] >> 4) |
                                 (bits[k] >> (j % 4 * 2) & 3) << 4);
        break;
    }
    }
}

// Copies row r of a strip from the file's layout (the strip's bytes start as zeros).
static void pack_row(int f, const uint8_t *row, int columns, int r, uint8_t *strip) {
    if (formats[f].header == REAL) {
        int size = formats[f].bytes, pair = f == BF16 ? 2 : 1;
        for (int k = 0; k < columns; k++)
            memcpy(strip + ((size_t)(k / pair * ROWS + r) * pair + k % pair) * size,
                   row + (size_t)k * size, size);
        return;
    }
    for (int g = 0; g < columns / GROUP; g++) {
        uint8_t codes[GROUP], header[2], super[4], *q = strip + group_offset(f, g);
        read_group(f, row, g, codes, header, super);
        if (formats[f].header == SCALE) {
            memcpy(q + 2 * r, header, 2);
        } else {
            q[r] = header[0], q[16 + r] = header[1];
            if (g % 8 == 0) memcpy(q - super_bytes(f) + 2 * r, super, 2);
            if (g % 8 == 0 && formats[f].header == MINS) memcpy(q - 32 + 2 * r, super + 2, 2);
        }
        q += 32 + 4 * r;
        for (int k = 0; k < GROUP; k++) {
            int v = k / 4, j = k % 4;
            if (formats[f].bits == 8) {
                q[v * 64 + j] = codes[k];
                continue;
            }
            q[v % 4 * 64 + j] |= (uint8_t)((codes[k] & 15) << (k < 16 ? 0 : 4));
            if (formats[f].bits == 5) q[256 + j] |= (uint8_t)(codes[k] >> 4 << v);
            if (formats[f].bits == 6)
                q[256 + v / 4 * 64 + j] |= (uint8_t)(codes[k] >> 4 << v % 4 * 2);
        }
    }
}

// The codes of columns 4v..4v+3 in the lanes of block b: the same places pack_row filled.
INLINE vi unpack(const int bits, const uint8_t *codes, const int v, const int b) {
    if (bits == 8) return load_bytes(codes + v * 64 + b * W * 4);
    vi x = load_bytes(codes + v % 4 * 64 + b * W * 4);
    HOLD(x);
    x = (v < 4 ? x : x >> 4) & 0x0f0f0f0f;
    if (bits == 5) x |= (load_bytes(codes + 256 + b * W * 4) >> v & 0x01010101) << 4;
    if (bits == 6)
        x |= (load_bytes(codes + 256 + v / 4 * 64 + b * W * 4) >> v % 4 * 2 & 0x03030303) << 4;
    return x;
}

// One GGUF row as floats: how embeddings are looked up.
static void read_row(int f, const uint8_t *row, int columns, float *out) {
    for (int k = 0; k < columns && f == F32; k++) memcpy(&out[k], row + 4 * k, 4);
    for (int k = 0; k < columns && f == F16; k++) out[k] = half_at(row + 2 * k);
    for (int k = 0; k < columns && f == BF16; k++)
        out[k] = bits_to_float((uint32_t)(row[2 * k] | row[2 * k + 1] << 8) << 16);
    for (int g = 0; g < columns / GROUP && f > BF16; g++, out += GROUP) {
        uint8_t codes[GROUP], header[2], super[4] = {0};
        read_group(f, row, g, codes, header, super);
        float d = half_at(formats[f].header == SCALE ? header : super), dmin = half_at(super + 2);
        for (int k = 0; k < GROUP; k++) {
            int code = codes[k] - formats[f].offset;
            if (formats[f].header == SCALE) out[k] = d * (float)code;
            if (formats[f].header == MINS)
                out[k] = d * (float)(header[0] * code) - dmin * (float)header[1];
            if (formats[f].header == HALVES) out[k] = d * (float)((int8_t)header[k / 16] * code);
        }
    }
}

// ---- Activations: rows of floats, packed for the tiles ------------------------------------------
// T rows of K values are packed in tiles of up to TILE rows; inside a tile the rows lie side by
// side, so that one weight vector meets neighbouring broadcasts. INT8 groups of 32 share a scale
// (Q8_0's own scheme); beside it stand the sums that undo the codes' offset and apply their mins.

enum { INT8 = 1, FLOAT = 2, PAIRS = 4 };  // kinds, a bit each: who consumes the rows decides
enum { SCALES, SUMS, HALF_SUMS, SHIFTS, FACTS };
typedef struct {
    int8_t *codes;      // [tile][group][8][row][4]
    float *facts;       // [tile][group][FACTS][row]; the two sums are int32 bits, times -8
    float *values;      // [tile][column][row]
    Two *pairs;         // [tile][column/2][row], two bf16 each
} Activations;

static int kind_of(int format) { return format == BF16 ? PAIRS : format <= F16 ? FLOAT : INT8; }

static void pack_int8(const float *x, int K, int8_t *codes, float *facts, int m, int M) {
    for (int g = 0; g < K / GROUP; g++, x += GROUP, codes += GROUP * M, facts += FACTS * M) {
        int32_t magnitude = 0, bits[GROUP], sum = 0, half = 0, q[GROUP];
        memcpy(bits, x, sizeof bits);
        for (int i = 0; i < GROUP; i++) {  // floats without their sign compare as integers
            int32_t b = bits[i] & 0x7fffffff;
            magnitude = b > magnitude ? b : magnitude;
        }
        float top, inverse;
        memcpy(&top, &magnitude, 4);
        inverse = top > 0 ? 127.0f / top : 0.0f;
        for (int i = 0; i < GROUP; i++) {  // adding 1.5 * 2^23 leaves the rounded integer below
            float rounded = x[i] * inverse + 12582912.0f;
            memcpy(&bits[i], &rounded, 4);
            q[i] = bits[i] - 0x4b400000;
        }
        for (int i = 0; i < GROUP; i++) sum += q[i];
        for (int i = 0; i < GROUP / 2; i++) half += q[i];
        int8_t bytes[GROUP];
        for (int i = 0; i < GROUP; i++) bytes[i] = (int8_t)q[i];
        for (int v = 0; v < 8; v++) memcpy(codes + (v * M + m) * 4, bytes + 4 * v, 4);
        facts[SCALES * M + m] = top / 127.0f;
        facts[SHIFTS * M + m] = -(top / 127.0f) * (float)sum;
        sum *= -8, half *= -8;
        memcpy(&facts[SUMS * M + m], &sum, 4);
        memcpy(&facts[HALF_SUMS * M + m], &half, 4);
    }
}

// Packs row t of T, in every kind wanted.
static void pack(int kinds, const float *x, int K, int t, int T, Activations *a) {
    int m = t % TILE, first = t - m, M = MIN(TILE, T - first);
    if (kinds & INT8)
        pack_int8(x, K, a->codes + (size_t)first * K,
                  a->facts + (size_t)first * (K / GROUP) * FACTS, m, M);
    if (kinds & FLOAT)
        for (int k = 0; k < K; k++) a->values[(size_t)first * K + k * M + m] = x[k];
    if (kinds & PAIRS)
        for (int k = 0; k < K / 2; k += 8) {  // eight at once: first the arithmetic, in vectors
            uint16_t halves[16];
            for (int i = 0; i < 16; i++) halves[i] = (uint16_t)float_to_bf16(x[2 * k + i]);
            for (int i = 0; i < 8; i++)
                put_two(&a->pairs[(size_t)first * (K / 2) + (k + i) * M + m], &halves[2 * i]);
        }
}

// ---- Tiles: 16 rows of weights times M rows of activations, the two inner kernels ---------------

// f[m][row] = sum over groups of scale(row) * scale(m) * (integer dot product).
INLINE void integer_tile(const int format, const int M, const uint8_t *w, int groups,
                         const int8_t *a, const float *facts, float *out) {
    const int bits = formats[format].bits, header = formats[format].header;
    const int eights = bits == 8 && !UNSIGNED_DOT ? 0 : formats[format].offset / 8;
    vf f[TILE][BLOCKS] = {{{0}}}, d[BLOCKS] = {{0}}, dmin[BLOCKS] = {{0}};
    for (int g = 0; g < groups; g++) {
        if (header != SCALE && g % 8 == 0) {
            for (int b = 0; b < BLOCKS; b++) d[b] = load_half(w + b * W * 2);
            if (header == MINS)
                for (int b = 0; b < BLOCKS; b++) dmin[b] = load_half(w + 32 + b * W * 2);
            w += super_bytes(format);
        }
        for (size_t i = 0; M >= FETCH && i < group_bytes(format); i += 64)
            __builtin_prefetch(w + AHEAD + i);
        vi sum[TILE][BLOCKS], low[TILE][BLOCKS], pairs[TILE][BLOCKS];
        const int32_t *sums = (const int32_t *)facts + SUMS * M, *halves = sums + M;
        for (int m = 0; m < M; m++)
            for (int b = 0; b < BLOCKS; b++) {
                sum[m][b] = splat_i(sums[m]) * eights;
                if (header == HALVES) low[m][b] = splat_i(halves[m]) * eights;
                if (header == HALVES) sum[m][b] -= low[m][b];
            }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {  // in the order of memory; nibbles: v = 0, 4, 1, 5...
            const int v = bits == 8 ? i : i / 2 + i % 2 * 4;
            for (int b = 0; b < BLOCKS; b++) {
                vi codes = unpack(bits, w + 32, v, b);
                for (int m = 0; m < M; m++) {
                    int32_t x;
                    memcpy(&x, a + (v * M + m) * 4, 4);
                    vi *s = header == HALVES && v < 4 ? &low[m][b] : &sum[m][b];
                    *s = dot4(*s, &pairs[m][b], codes, x, bits, i);
                }
            }
        }
        for (int b = 0; b < BLOCKS; b++) {
            vf scale = header == SCALE ? load_half(w + b * W * 2) : d[b], min = {0};
            vi s0 = {0}, s1 = {0};
            if (header == MINS) {
                scale *= __builtin_convertvector(load_u8(w + b * W), vf);
                min = dmin[b] * __builtin_convertvector(load_u8(w + 16 + b * W), vf);
            } else if (header == HALVES) {  // signed bytes
                s0 = load_u8(w + b * W) << 24 >> 24;
                s1 = load_u8(w + 16 + b * W) << 24 >> 24;
            }
            for (int m = 0; m < M; m++) {
                vi s = sum[m][b];
                if (header == HALVES) s = low[m][b] * s0 + s * s1;
                f[m][b] = fma_vf(__builtin_convertvector(s, vf), scale * facts[m], f[m][b]);
                if (header == MINS) f[m][b] = fma_vf(min, splat(facts[SHIFTS * M + m]), f[m][b]);
            }
        }
        w += group_bytes(format), a += GROUP * M, facts += FACTS * M;
    }
    for (int m = 0; m < M; m++)
        for (int b = 0; b < BLOCKS; b++) store(out + m * ROWS + b * W, f[m][b]);
}

// The same for float weights, which may come in several blocks of K columns (KV pages), and the
// first `rows` of M rows. Two chains of fused multiply-adds per row, even and odd columns (bf16:
// even and odd pairs), hide latency.
INLINE void float_tile(const int format, const int M, const int rows, const uint8_t *const *w,
                       int count, int K, const float *values, const Two *pairs, float *out) {
    vf f[FLOATS][BLOCKS][2] = {{{{0}}}};
    const int step = format == F16 ? 2 * ROWS : 4 * ROWS, steps = format == BF16 ? K / 2 : K;
    for (int i = 0; i < count; i++) {
        const uint8_t *p = w[i];
        for (int k = 0; k < steps; k += 2) {
            if (M > 1 && count == 1) __builtin_prefetch(p + 4096);
            if (M > 1 && count == 1 && format != F16) __builtin_prefetch(p + 4096 + 64);
            for (int chain = 0; chain < 2; chain++, p += step)
                for (int b = 0; b < BLOCKS; b++) {
                    const uint8_t *q = p + step / BLOCKS * b;
                    vi two = format == BF16 ? load_bytes(q) : (vi){0};
                    vf one = format == F16 ? load_half(q) : load((const float *)q);
                    for (int m = 0; m < rows; m++) {
                        vf *s = &f[m][b][chain];
                        *s = format == BF16 ? dot2(*s, two, pairs[(k + chain) * M + m])
                                            : fma_vf(one, splat(values[(k + chain) * M + m]), *s);
                    }
                }
        }
        if (format == BF16) pairs += steps * M;
        else values += steps * M;
    }
    for (int m = 0; m < rows; m++)
        for (int b = 0; b < BLOCKS; b++) store(out + m * ROWS + b * W, f[m][b][0] + f[m][b][1]);
}

// One function for each format and M, both constants in it, so that every loop above unrolls.
typedef void Tile(const uint8_t *const *w, int count, int K, const Activations *a, int t,
                  float *out);
#define TILE_FUNCTION(F, M)                                                                        \
    static void tile_##F##_##M(const uint8_t *const *w, int count, int K, const Activations *a,    \
                               int t, float *out) {                                                \
        const float *values = a->values + (size_t)t * K * count;                                   \
        const Two *pairs = a->pairs + (size_t)t * K * count / 2;                                   \
        if (F <= BF16) float_tile(F, M, MIN(M, FLOATS), w, count, K, values, pairs, out);          \
        if (F <= BF16 && M > FLOATS)                                                               \
            float_tile(F, M, M - FLOATS, w, count, K, values + FLOATS, pairs + FLOATS,             \
                       out + FLOATS * ROWS);                                                       \
        if (F > BF16)                                                                              \
            integer_tile(F, M, w[0], K / GROUP, a->codes + (size_t)t * K,                          \
                         a->facts + (size_t)t * (K / GROUP) * FACTS, out);                         \
    }
#define EACH_FORMAT(X) X(F32) X(F16) X(BF16) X(Q8_0) X(Q4_0) X(Q5_0) X(Q4_K) X(Q5_K) X(Q6_K)
#define FOUR(F) TILE_FUNCTION(F, 1) TILE_FUNCTION(F, 2) TILE_FUNCTION(F, 3) TILE_FUNCTION(F, 4)
#define NAME_FOUR(F) tile_##F##_1, tile_##F##_2, tile_##F##_3, tile_##F##_4
EACH_FORMAT(FOUR)
#if defined(CABIN_AVX2) || defined(CABIN_NEON) || defined(CABIN_PLAIN)
#define ROW(F) [F] = {NAME_FOUR(F)},
#else
#define MORE(F) TILE_FUNCTION(F, 5) TILE_FUNCTION(F, 6) TILE_FUNCTION(F, 7) TILE_FUNCTION(F, 8)
#define ROW(F) [F] = {NAME_FOUR(F), tile_##F##_5, tile_##F##_6, tile_##F##_7, tile_##F##_8},
EACH_FORMAT(MORE)
#endif
static Tile *const tiles[FORMATS][TILE] = {EACH_FORMAT(ROW)};  // by format and M - 1

// ---- GGUF: the parameters file, read where it lies ----------------------------------------------

typedef struct { const uint8_t *at, *end; bool bad; } Cursor;
typedef struct { const char *text; uint64_t length; } Text;
typedef struct {
    Text key;
    uint32_t type, element;   // element: of an array
    uint64_t count;           // 1 unless an array
    const uint8_t *data, *end;
} Value;
typedef struct { Text name; uint64_t rows, columns, offset; int format; } Tensor;
typedef struct {
    const uint8_t *bytes;
    size_t size, data;        // where tensor data start
    Value *values;
    Tensor *tensors;
    int n_values, n_tensors;
} Gguf;
enum { STRING = 8, ARRAY = 9 };
static const uint8_t scalar_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static const uint8_t *skip(Cursor *c, uint64_t n) {
    const uint8_t *at = c->at;
    if (c->bad || n > (uint64_t)(c->end - at)) c->bad = true;
    else c->at += n;
    return at;
}
static uint64_t take(Cursor *c, int bytes) {
    uint64_t x = 0;
    const uint8_t *p = skip(c, (uint64_t)bytes);
    if (!c->bad) memcpy(&x, p, (size_t)bytes);
    return x;
}
static Text take_text(Cursor *c) {
    uint64_t n = take(c, 8);
    Text t = {(const char *)skip(c, n), n};
    if (c->bad) t.length = 0;
    return t;
}
static Value take_value(Cursor *c) {
    Value v = {.key = take_text(c), .type = (uint32_t)take(c, 4), .count = 1};
    v.element = v.type;
    if (v.type == ARRAY) v.element = (uint32_t)take(c, 4), v.count = take(c, 8);
    v.data = c->at;
    if (v.element > 12 || v.element == ARRAY || v.count > (uint64_t)(c->end - c->at)) c->bad = true;
    else if (v.element != STRING) skip(c, v.count * scalar_bytes[v.element]);
    else for (uint64_t i = 0; i < v.count && !c->bad; i++) take_text(c);
    v.end = c->at;
    return v;
}

static bool same_text(Text t, const char *s) {
    return t.length == strlen(s) && !memcmp(t.text, s, t.length);
}
__attribute__((format(printf, 2, 3)))  // NULL if there is no such key
static const Value *find(const Gguf *g, const char *key, ...) {
    char name[256];
    va_list args;
    va_start(args, key);
    vsnprintf(name, sizeof name, key, args);
    va_end(args);
    for (int i = 0; i < g->n_values; i++)
        if (same_text(g->values[i].key, name)) return &g->values[i];
    return NULL;
}
static double number(const Value *v, double otherwise) {
    if (!v || v->type == STRING || v->type == ARRAY) return otherwise;
    union { uint64_t u; float f; double d; } x = {0};
    int n = scalar_bytes[v->type];
    memcpy(&x, v->data, (size_t)n);
    if (v->type == 6) return x.f;
    if (v->type == 12) return x.d;
    bool is_signed = v->type == 1 || v->type == 3 || v->type == 5 || v->type == 11;
    return is_signed ? (double)((int64_t)(x.u << (64 - 8 * n)) >> (64 - 8 * n)) : (double)x.u;
}
static Text text_of(const Value *v) {
    Cursor c = v ? (Cursor){v->data, v->end, false} : (Cursor){0};
    return v && v->type == STRING ? take_text(&c) : (Text){"", 0};
}

static bool read_tensor(Cursor *c, Tensor *t) {
    uint64_t size[4] = {1, 1, 1, 1};
    t->name = take_text(c);
    uint64_t dims = take(c, 4);
    for (uint64_t i = 0; i < dims && i < 4; i++) size[i] = take(c, 8);
    uint64_t type = take(c, 4);
    t->offset = take(c, 8);
    int n = (int)MIN(t->name.length, 64u);
    if (c->bad || dims > 4) return fail(BAD_FILE, "the tensor list is truncated or corrupt");
    for (int i = 0; i < 4; i++)
        if (size[i] == 0 || size[i] > 1u << 30)
            return fail(BAD_FILE, "tensor '%.*s' has an impossible shape", n, t->name.text);
    for (t->format = 0; t->format < FORMATS; t->format++)
        if (formats[t->format].ggml == (int)type) break;
    t->columns = size[0], t->rows = size[1];
    if (size[2] != 1 || size[3] != 1) t->format = FORMATS;  // no matrix: an error only if needed
    if (t->format == FORMATS) return t->rows = 0, t->columns = type, true;
    if (t->columns % (uint64_t)formats[t->format].columns || t->offset % 4)
        return fail(BAD_FILE, "tensor '%.*s' has an impossible shape or place", n, t->name.text);
    return true;
}

static bool gguf_parse(Gguf *g) {
    Cursor c = {g->bytes, g->bytes + g->size, false};
    if (take(&c, 4) != 0x46554747)
        return fail(BAD_FILE, "not a GGUF file (wrong magic number)");
    uint64_t version = take(&c, 4), n_tensors = take(&c, 8), n_values = take(&c, 8);
    if (version < 2 || version > 3)
        return fail(UNSUPPORTED, "GGUF version %u: only 2 and 3, little endian", (unsigned)version);
    if (c.bad || n_tensors > 1 << 16 || n_values > 1 << 16)
        return fail(BAD_FILE, "the header is truncated or corrupt");
    g->values = calloc(n_values + 1, sizeof *g->values);
    g->tensors = calloc(n_tensors + 1, sizeof *g->tensors);
    if (!g->values || !g->tensors) return fail(NO_MEMORY, "no memory for the tensor list");
    while ((uint64_t)g->n_values < n_values && !c.bad) g->values[g->n_values++] = take_value(&c);
    if (c.bad) return fail(BAD_FILE, "metadata entry %d is truncated or corrupt", g->n_values);
    double alignment = number(find(g, "general.alignment"), 32);
    if (alignment < 1 || alignment > 1 << 20) return fail(BAD_FILE, "impossible alignment");
    while ((uint64_t)g->n_tensors < n_tensors)
        if (!read_tensor(&c, &g->tensors[g->n_tensors++])) return false;
    size_t a = (size_t)alignment, header = (size_t)(c.at - g->bytes);
    g->data = (header + a - 1) / a * a;
    uint64_t room = g->size - MIN(g->size, g->data);
    for (int i = 0; i < g->n_tensors; i++) {  // offsets count from the data's start
        const Tensor *t = &g->tensors[i];
        if (t->format == FORMATS) continue;
        const Format *f = &formats[t->format];
        uint64_t bytes = t->rows * (t->columns / (uint64_t)f->columns) * (uint64_t)f->bytes;
        if (t->offset > room || bytes > room - t->offset)  // bytes < 2^63: both sizes are <= 2^30
            return fail(BAD_FILE, "the file is truncated: tensor '%.*s' ends at byte %llu of %zu",
                        (int)MIN(t->name.length, 64u), t->name.text,
                        (unsigned long long)(g->data + t->offset + bytes), g->size);
    }
    return true;
}

static bool gguf_open(Gguf *g, const char *path) {
    struct stat s;
    char reason[sizeof error_text];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(BAD_FILE, "cannot open '%s': %s", path, strerror(errno));
    bool regular = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > 0;
    g->size = regular ? (size_t)s.st_size : 0;
    void *map = regular ? mmap(NULL, g->size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED) return fail(BAD_FILE, "'%s' is empty or not a regular file", path);
    g->bytes = map;
    if (gguf_parse(g)) return true;
    memcpy(reason, error_text, sizeof reason);
    return fail(error_code, "'%.200s': %.300s", path, reason);
}

// ---- Model: hyperparameters, tensors, strips ----------------------------------------------------

typedef struct {
    const Tensor *tensor;
    size_t offset, pitch;     // of the first strip; from one strip to the next
    int format, rows, columns;
} Matrix;
typedef struct {
    Matrix q, k, v, o, gate, up, down;
    float *attention_norm, *ffn_norm, *q_norm, *k_norm, *q_bias, *k_bias, *v_bias;
} Layer;
typedef struct Model Model;
typedef struct { Model *model; int thread; pthread_t id; } Worker;
typedef struct {
    Model *model;
    int32_t *pages;
    int length, n_pages, capacity;
    bool busy;                // already in the batch being checked
} Sequence;
typedef struct { int first, count; } Block;   // tokens of one sequence whose queries share a page
typedef struct {
    float *row, *scores, *sums;
    Activations own, q, p;    // own: what this thread packs for itself
} Scratch;
struct Model {
    Gguf gguf;
    int dim, layers_n, heads, kv_heads, head_dim, hidden, vocab, context, rotary, window;
    float eps, theta, rope_scale;
    bool half_split;          // rotate (i, i + n/2), not (2i, 2i + 1)
    float *frequencies, *output_norm;  // of rotation, in radians a position
    const Tensor *embedding;
    Matrix head;
    Layer *layers;
    uint8_t *strips;
    size_t strips_size;
    uint64_t fingerprint;
    void **owned;             // every block allocate() gave: a list, each begins with the next
    // the pool of threads
    int threads;
    Worker *workers;          // the first is the caller, with no thread of its own
    pthread_mutex_t sleep_lock;
    pthread_cond_t woken;
    atomic_int epoch, arrived, phase, sleepers;
    void (*job)(Model *, int thread);
    // the pool of KV pages: for each layer and KV head, a strip of K for every page, then for each
    // 16 values a strip of V for every page: whoever reads page after page reads memory in order
    uint8_t *arena;
    int kv_format, n_pages, free_pages, hint;
    size_t key_bytes, value_bytes, page_bytes;  // of one strip of K, of V, and of a page in all
    uint16_t *references;
    pthread_mutex_t page_lock, forward_lock;
    // one batch in flight
    int T, n_blocks, n_out;
    bool distinct, hidden_wanted;
    int tokens[BATCH], positions[BATCH], out_token[BATCH];
    Sequence *sequences[BATCH];
    Block blocks[BATCH];
    float *x, *qkv, *attended, *ffn, *final, *cosine, *sine, *out;
    Activations shared;
    Scratch *scratch;
};

// Zeros on a cache line's border, freed with the model; NULL and an error if there is no memory.
static void *allocate(Model *m, size_t count, size_t bytes) {
    size_t size = count * bytes + 128;
    void **block = calloc(1, size);  // the system's zero pages cost nothing until they are used
    if (!block)
        return fail(NO_MEMORY, "not enough memory: %zu MB more are needed", size >> 20), NULL;
    *block = m->owned;
    m->owned = block;
    return (void *)(((uintptr_t)block + sizeof *block + 63) / 64 * 64);
}

static bool configure(Model *m) {
    const Gguf *g = &m->gguf;
    Text arch = text_of(find(g, "general.architecture"));
    char a[32];
    snprintf(a, sizeof a, "%.*s", (int)MIN(arch.length, 31u), arch.text);
    m->half_split = !strcmp(a, "qwen2") || !strcmp(a, "qwen3");
    if (!m->half_split && strcmp(a, "llama"))
        return fail(UNSUPPORTED, "architecture '%s' is not supported (llama, qwen2, qwen3 are)", a);
    const char *keys[] = {"embedding_length", "block_count", "attention.head_count",
                          "feed_forward_length", "context_length"};
    int *fields[] = {&m->dim, &m->layers_n, &m->heads, &m->hidden, &m->context};
    for (int i = 0; i < 5; i++) {
        double x = number(find(g, "%s.%s", a, keys[i]), 0);
        if (!(x >= 1 && x <= 1 << 24))
            return fail(BAD_FILE, "metadata '%s.%s' is missing or impossible", a, keys[i]);
        *fields[i] = (int)x;
    }
    double kv = number(find(g, "%s.attention.head_count_kv", a), m->heads);
    double size = number(find(g, "%s.attention.key_length", a), m->dim / m->heads);
    double rotary = number(find(g, "%s.rope.dimension_count", a), size);
    double window = number(find(g, "%s.attention.sliding_window", a), 0);
    if (!(kv >= 1 && kv <= m->heads) || m->heads % (int)kv || m->heads / (int)kv > 64)
        return fail(BAD_FILE, "%d heads cannot share %g key-value heads", m->heads, kv);
    if (!(size >= 16 && size <= 1024) || (int)size % 16)
        return fail(UNSUPPORTED, "head size %g: only multiples of 16 up to 1024", size);
    if (!(rotary >= 2 && rotary <= size) || (int)rotary % 2 || !(window >= 0 && window <= 1 << 30))
        return fail(BAD_FILE, "impossible rotary size %g or sliding window %g", rotary, window);
    if (number(find(g, "%s.attention.value_length", a), size) != size)
        return fail(UNSUPPORTED, "value heads of another size than key heads");
    if (number(find(g, "%s.expert_count", a), 0) > 0)
        return fail(UNSUPPORTED, "mixture-of-experts models are not supported");
    m->kv_heads = (int)kv, m->head_dim = (int)size;
    m->rotary = (int)rotary, m->window = (int)window;
    m->eps = (float)number(find(g, "%s.attention.layer_norm_rms_epsilon", a), 1e-5);
    m->theta = (float)number(find(g, "%s.rope.freq_base", a), 10000);
    Text scaling = text_of(find(g, "%s.rope.scaling.type", a));
    bool linear = same_text(scaling, "linear");
    if (scaling.length && !linear && !same_text(scaling, "none"))
        return fail(UNSUPPORTED, "RoPE scaling '%.*s' is not supported (linear and llama3 are)",
                    (int)MIN(scaling.length, 31u), scaling.text);
    m->rope_scale = linear ? (float)number(find(g, "%s.rope.scaling.factor", a), 1) : 1.0f;
    if (!(m->rope_scale > 0)) return fail(BAD_FILE, "impossible RoPE scaling factor");
    return true;
}

// Finds a tensor by name; false if it has another shape or type than needed, or lacks and must not.
static bool bind(const Model *m, int layer, const char *name, int rows, int columns, bool needed,
                 const Tensor **out) {
    char full[64];
    const Gguf *g = &m->gguf;
    if (layer < 0) snprintf(full, sizeof full, "%s", name);
    else snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    *out = NULL;
    for (int i = 0; i < g->n_tensors && !*out; i++)
        if (same_text(g->tensors[i].name, full)) *out = &g->tensors[i];
    if (!*out) return needed ? fail(BAD_FILE, "tensor '%s' is missing", full) : true;
    if ((*out)->format == FORMATS)
        return fail(UNSUPPORTED, "tensor '%s' has GGML type %d; supported are F32 F16 BF16 Q8_0 "
                    "Q4_0 Q5_0 Q4_K Q5_K Q6_K", full, (int)(*out)->columns);
    if ((*out)->rows != (uint64_t)rows || (*out)->columns != (uint64_t)columns)
        return fail(BAD_FILE, "tensor '%s' is %u x %u, not %d x %d", full,
                    (unsigned)(*out)->rows, (unsigned)(*out)->columns, rows, columns);
    if (rows == 1 && (*out)->format > BF16)
        return fail(UNSUPPORTED, "tensor '%s': a vector must not be quantised", full);
    if (rows > 1 && columns % GROUP)
        return fail(UNSUPPORTED, "tensor '%s': rows must be a multiple of 32 long", full);
    return true;
}
static bool bind_vector(Model *m, int layer, const char *name, int n, bool needed, float **out) {
    const Tensor *t;
    if (!bind(m, layer, name, 1, n, needed, &t)) return false;
    if (!t) return true;
    if (!(*out = allocate(m, (size_t)n, sizeof(float)))) return false;
    read_row(t->format, m->gguf.bytes + m->gguf.data + t->offset, n, *out);
    return true;
}
static bool bind_matrix(Model *m, int layer, const char *name, int rows, int columns, Matrix *w) {
    if (!bind(m, layer, name, rows, columns, true, &w->tensor)) return false;
    w->format = w->tensor->format, w->rows = rows, w->columns = columns;
    w->pitch = strip_bytes(w->format, columns);
    w->offset = m->strips_size;
    m->strips_size += w->pitch * (size_t)((rows + ROWS - 1) / ROWS);
    return true;
}

// Finds every tensor and gives it its place among the strips, in the order of execution. Strips of
// gate and up alternate, so that their product is taken while both are at hand.
static bool bind_tensors(Model *m) {
    int q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    const Value *tokens = find(&m->gguf, "tokenizer.ggml.tokens");
    int n = m->gguf.n_tensors;
    const Tensor *e = NULL, *head;
    for (int i = 0; i < n; i++)
        if (same_text(m->gguf.tensors[i].name, "token_embd.weight")) e = &m->gguf.tensors[i];
    if (!e || e->rows < 1 || (tokens && tokens->count > e->rows))
        return fail(BAD_FILE, "tensor 'token_embd.weight' is missing, or too small for the tokens");
    m->vocab = (int)e->rows;
    if (!bind(m, -1, "token_embd.weight", m->vocab, m->dim, true, &m->embedding)) return false;
    if (!(m->layers = allocate(m, (size_t)m->layers_n, sizeof *m->layers))) return false;
    for (int i = 0; i < m->layers_n; i++) {
        Layer *l = &m->layers[i];
        if (!bind_vector(m, i, "attn_norm.weight", m->dim, true, &l->attention_norm) ||
            !bind_vector(m, i, "attn_q_norm.weight", m->head_dim, false, &l->q_norm) ||
            !bind_vector(m, i, "attn_k_norm.weight", m->head_dim, false, &l->k_norm) ||
            !bind_vector(m, i, "attn_q.bias", q, false, &l->q_bias) ||
            !bind_vector(m, i, "attn_k.bias", kv, false, &l->k_bias) ||
            !bind_vector(m, i, "attn_v.bias", kv, false, &l->v_bias) ||
            !bind_vector(m, i, "ffn_norm.weight", m->dim, true, &l->ffn_norm) ||
            !bind_matrix(m, i, "attn_q.weight", q, m->dim, &l->q) ||
            !bind_matrix(m, i, "attn_k.weight", kv, m->dim, &l->k) ||
            !bind_matrix(m, i, "attn_v.weight", kv, m->dim, &l->v) ||
            !bind_matrix(m, i, "attn_output.weight", m->dim, q, &l->o) ||
            !bind_matrix(m, i, "ffn_gate.weight", m->hidden, m->dim, &l->gate) ||
            !bind_matrix(m, i, "ffn_up.weight", m->hidden, m->dim, &l->up) ||
            !bind_matrix(m, i, "ffn_down.weight", m->dim, m->hidden, &l->down))
            return false;
        l->up.offset = l->gate.offset + l->gate.pitch;
        l->gate.pitch = l->up.pitch = l->gate.pitch + l->up.pitch;
    }
    if (!bind(m, -1, "output.weight", m->vocab, m->dim, false, &head)) return false;
    float *factors = NULL;  // Llama 3's scaling: each frequency has its own divisor
    if (!bind_vector(m, -1, "output_norm.weight", m->dim, true, &m->output_norm) ||
        !bind_vector(m, -1, "rope_freqs.weight", m->rotary / 2, false, &factors) ||
        !(m->frequencies = allocate(m, (size_t)m->rotary / 2, sizeof(float))))
        return false;
    for (int i = 0; i < m->rotary / 2; i++) {
        m->frequencies[i] = powf(m->theta, -2.0f * (float)i / (float)m->rotary) / m->rope_scale;
        if (factors) m->frequencies[i] /= factors[i];
    }
    const char *name = head ? "output.weight" : "token_embd.weight";
    return bind_matrix(m, -1, name, m->vocab, m->dim, &m->head);
}

// ---- Threads: a pool that spins, then sleeps ----------------------------------------------------

// Waits for another thread to change the word. Spins for a fraction of a millisecond, more than
// the steps of a forward pass need; then sleeps, for the core may be what that thread waits for.
// Never yields: on a busy machine that gives a whole time slice away at every barrier.
static void wait_change(Model *m, atomic_int *word, int old) {
    for (int i = 0; i < 10000; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
#if defined(__x86_64__)
        _mm_pause();
#endif
    }
    atomic_fetch_add(&m->sleepers, 1);
    pthread_mutex_lock(&m->sleep_lock);
    while (atomic_load(word) == old) pthread_cond_wait(&m->woken, &m->sleep_lock);
    pthread_mutex_unlock(&m->sleep_lock);
    atomic_fetch_sub(&m->sleepers, 1);
}
static void change(Model *m, atomic_int *word) {
    atomic_fetch_add(word, 1);
    if (atomic_load(&m->sleepers) == 0) return;
    pthread_mutex_lock(&m->sleep_lock);
    pthread_cond_broadcast(&m->woken);
    pthread_mutex_unlock(&m->sleep_lock);
}
static void barrier(Model *m) {
    if (m->threads == 1) return;
    int phase = atomic_load(&m->phase);
    if (atomic_fetch_add(&m->arrived, 1) == m->threads - 1) {
        atomic_store(&m->arrived, 0);
        change(m, &m->phase);
    } else wait_change(m, &m->phase, phase);
}
static void *work(void *argument) {
    const Worker *w = argument;
    set_denormals(UINT64_MAX);
    for (int epoch = 0;; epoch++) {
        wait_change(w->model, &w->model->epoch, epoch);
        if (!w->model->job) return NULL;
        w->model->job(w->model, w->thread);
        barrier(w->model);
    }
}
// Runs the job on every thread of the pool, this one included; none returns before all are done.
static void run_job(Model *m, void (*job)(Model *, int)) {
    uint64_t state = set_denormals(UINT64_MAX);
    m->job = job;
    if (m->threads > 1) change(m, &m->epoch);
    job(m, 0);
    barrier(m);
    set_denormals(state);
}
// As many threads as this process may really use: affinity and container quota, not the machine.
static int usable_cpus(void) {
    int n = (int)sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    long quota, period;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f && fscanf(f, "%ld %ld", &quota, &period) == 2 && period > 0)
        n = MIN(n, (int)((quota + period - 1) / period));
    if (f) fclose(f);
#endif
    return MAX(1, MIN(n, 256));
}

// ---- Strips in memory: repacked in parallel, or mapped from the cache beside the file -----------

static void pack_matrix(Model *m, const Matrix *w, int thread) {
    size_t row_bytes = (size_t)w->columns / (size_t)formats[w->format].columns *
                       (size_t)formats[w->format].bytes;
    const uint8_t *rows = m->gguf.bytes + m->gguf.data + w->tensor->offset;
    for (int s = thread; s * ROWS < w->rows; s += m->threads)
        for (int r = 0; r < ROWS && s * ROWS + r < w->rows; r++)
            pack_row(w->format, rows + row_bytes * (size_t)(s * ROWS + r), w->columns, r,
                     m->strips + w->offset + w->pitch * (size_t)s);
}
static void pack_job(Model *m, int thread) {
    for (int i = 0; i < m->layers_n; i++) {
        Layer *l = &m->layers[i];
        Matrix *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (int j = 0; j < 7; j++) pack_matrix(m, all[j], thread);
        barrier(m);  // the layer's source pages go back: two copies must not add up
        if (thread == 0) madvise((void *)m->gguf.bytes, m->gguf.size, MADV_DONTNEED);
    }
    pack_matrix(m, &m->head, thread);
    barrier(m);
    if (thread == 0) madvise((void *)m->gguf.bytes, m->gguf.size, MADV_DONTNEED);
}

// A word that changes with the file, its metadata or this layout: FNV-1a, eight bytes at a time.
static uint64_t fingerprint(const Model *m, const char *path) {
    struct stat s = {0};
    stat(path, &s);
#if defined(__APPLE__)
    struct timespec changed = s.st_mtimespec;
#else
    struct timespec changed = s.st_mtim;
#endif
    uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)s.st_size ^ (uint64_t)changed.tv_sec << 20 ^
                 (uint64_t)changed.tv_nsec << 34, word;
    for (size_t i = 0; i + 8 <= MIN(m->gguf.data, m->gguf.size); i += 8) {
        memcpy(&word, m->gguf.bytes + i, 8);
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

enum { CACHE_HEADER = 4096 };
#define CACHE_MAGIC "cabin strips 1\n"
static uint8_t *map_cache(const Model *m, const char *name) {
    struct stat s;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    size_t size = CACHE_HEADER + m->strips_size;
    bool fits = fstat(fd, &s) == 0 && (size_t)s.st_size == size;
    uint8_t *map = fits ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED) return NULL;
    if (!memcmp(map, CACHE_MAGIC, 16) && !memcmp(map + 16, &m->fingerprint, 8))
        return map + CACHE_HEADER;
    munmap(map, size);
    return NULL;
}
static bool load_strips(Model *m, const char *path, bool use_cache) {
    char name[PATH_MAX];
    size_t size = CACHE_HEADER + m->strips_size;
    int fd = -1;
    snprintf(name, sizeof name, "%s.strips", path);
    m->fingerprint = fingerprint(m, path);
    if (use_cache && (m->strips = map_cache(m, name))) return true;
#if defined(O_TMPFILE)  // a file without a name: nothing half-written can stay behind
    if (use_cache) {
        char *slash = strrchr(name, '/'), old = slash ? *slash : 0;
        if (slash) *slash = 0;
        fd = open(slash ? (*name ? name : "/") : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
        if (slash) *slash = old;
        if (fd >= 0 && posix_fallocate(fd, 0, (off_t)size)) close(fd), fd = -1;  // disk full
    }
#endif
    int sharing = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANON;
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing, fd, 0);
    if (map == MAP_FAILED)
        return fail(NO_MEMORY, "not enough memory: the weights need %zu MB", size >> 20);
#if defined(MADV_HUGEPAGE)
    if (fd < 0) madvise(map, size, MADV_HUGEPAGE);
#endif
    m->strips = map + CACHE_HEADER;
    run_job(m, pack_job);
    memcpy(map, CACHE_MAGIC, 16);
    memcpy(map + 16, &m->fingerprint, 8);
    if (fd < 0) return true;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fdatasync(fd) == 0 && (unlink(name) == 0 || errno == ENOENT))
        linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
    close(fd);
    return true;
}

// ---- KV pages: counted references, copied on write ----------------------------------------------

static uint8_t *key_strip(const Model *m, int page, int layer, int head) {
    size_t before = (size_t)(layer * m->kv_heads + head) * 2 * (size_t)m->n_pages;
    return m->arena + (before + (size_t)page) * m->key_bytes;
}
static uint8_t *value_strip(const Model *m, int page, int layer, int head, int i) {  // of value i
    uint8_t *all = key_strip(m, m->n_pages, layer, head);
    return all + ((size_t)(i / ROWS) * (size_t)m->n_pages + (size_t)page) * m->value_bytes;
}
// Part j of a page's head i, of all layers' heads: its keys (j < 0), or values 16 j to 16 j + 15.
static uint8_t *page_part(const Model *m, int page, int i, int j, size_t *bytes) {
    *bytes = j < 0 ? m->key_bytes : m->value_bytes;
    return j < 0 ? key_strip(m, page, 0, i) : value_strip(m, page, 0, i, j * ROWS);
}
static void fill_page(const Model *m, int page, int from) {  // with a copy of another, or zeros
    size_t n;
    for (int i = 0; i < m->layers_n * m->kv_heads; i++)
        for (int j = -1; j < m->head_dim / ROWS; j++) {
            uint8_t *part = page_part(m, page, i, j, &n);
            if (from < 0) memset(part, 0, n);
            else memcpy(part, page_part(m, from, i, j, &n), n);
        }
}
static bool open_arena(Model *m, int kv_tokens, bool f32) {
    m->kv_format = f32 ? F32 : BF16;
    m->key_bytes = strip_bytes(m->kv_format, m->head_dim);
    m->value_bytes = strip_bytes(m->kv_format, PAGE);
    m->page_bytes = (size_t)m->layers_n * (size_t)m->kv_heads * 2 * m->key_bytes;
    m->n_pages = m->free_pages = (kv_tokens + PAGE - 1) / PAGE;
    size_t size = (size_t)m->n_pages * m->page_bytes;
    size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    if (!(m->references = allocate(m, (size_t)m->n_pages, sizeof *m->references))) return false;
    void *map = size > memory ? MAP_FAILED : mmap(NULL, size + 1, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return fail(NO_MEMORY, "not enough memory: keys and values of %d tokens need %zu MB of "
                    "%zu MB; ask for fewer tokens", kv_tokens, size >> 20, memory >> 20);
    m->arena = map;
#if defined(MADV_HUGEPAGE)
    if (size >= 64 << 20) madvise(map, size, MADV_HUGEPAGE);  // a small one grows as it is used
#endif
    return true;
}
// Takes a free page (the caller checked there is one), next to the previous if it can, and clears
// it: positions not yet written must hold numbers, for a masked 0 x NaN would still be NaN.
static int take_page(Model *m, int previous) {
    int page = previous + 1;
    if (previous < 0 || page >= m->n_pages || m->references[page]) page = m->hint;
    while (m->references[page %= m->n_pages]) page++;
    m->references[page] = 1;
    m->hint = page + 1;
    m->free_pages--;
    fill_page(m, page, -1);
    return page;
}
static void drop_page(Model *m, int page) {
    if (--m->references[page] == 0) m->free_pages++, m->hint = MIN(m->hint, page);
}
static void keep_pages(Sequence *s, int n) {  // drops the others
    pthread_mutex_lock(&s->model->page_lock);
    for (; s->n_pages > n; s->n_pages--) drop_page(s->model, s->pages[s->n_pages - 1]);
    pthread_mutex_unlock(&s->model->page_lock);
}
// How many pages must be taken to append count tokens: new ones, and a copy of a shared last one.
static int pages_wanted(const Sequence *s, int count) {
    bool shared = s->length % PAGE && s->model->references[s->pages[s->n_pages - 1]] > 1;
    return (s->length + count + PAGE - 1) / PAGE - s->n_pages + shared;
}
static bool extend(Sequence *s, int count) {
    Model *m = s->model;
    int n = (s->length + count + PAGE - 1) / PAGE, last = s->n_pages - 1;
    if (n > s->capacity) {
        int32_t *more = realloc(s->pages, sizeof *more * (size_t)(n + n / 2 + 8));
        if (!more) return fail(NO_MEMORY, "no memory for a page table");
        s->pages = more, s->capacity = n + n / 2 + 8;
    }
    if (s->length % PAGE && m->references[s->pages[last]] > 1) {
        int copy = take_page(m, -1), old = s->pages[last];
        fill_page(m, copy, old);
        drop_page(m, old);
        s->pages[last] = copy;
    }
    for (; s->n_pages < n; s->n_pages++)
        s->pages[s->n_pages] = take_page(m, s->n_pages ? s->pages[s->n_pages - 1] : -1);
    return true;
}

// ---- Attention: softmax(q K^T) V over pages, in chunks of positions (FlashAttention) ------------

static void rms_norm(float *out, const float *x, const float *weight, int n, float eps) {
    vf sum[BLOCKS] = {{0}};
    for (int i = 0; i < n; i += ROWS)
        for (int b = 0; b < BLOCKS; b++) {
            vf v = load(x + i + b * W);
            sum[b] = fma_vf(v, v, sum[b]);
        }
    float scale = 1.0f / sqrtf(sum_rows(sum) / (float)n + eps);
    for (int i = 0; i < n; i++) out[i] = x[i] * scale * weight[i];
}
static void rotate(const Model *m, float *x, int t) {
    int n = m->rotary / 2;
    const float *c = m->cosine + (size_t)t * n, *s = m->sine + (size_t)t * n;
    for (int i = 0; i < n; i++) {
        float *a = m->half_split ? x + i : x + 2 * i, *b = m->half_split ? a + n : a + 1, old = *a;
        *a = old * c[i] - *b * s[i];
        *b = old * s[i] + *b * c[i];
    }
}
// Finishes the queries, key and value of token t under one KV head, and files key and value.
static void file_kv(Model *m, int layer, int t, int head) {
    const Layer *l = &m->layers[layer];
    int n = m->head_dim, group = m->heads / m->kv_heads, position = m->positions[t];
    float *q = m->qkv + (size_t)t * (m->heads + 2 * m->kv_heads) * n + head * group * n;
    float *k = q + (m->heads + head - head * group) * n, *v = k + m->kv_heads * n;
    for (int i = 0; i < group * n && l->q_bias; i++) q[i] += l->q_bias[head * group * n + i];
    for (int i = 0; i < n && l->k_bias; i++) k[i] += l->k_bias[head * n + i];
    for (int i = 0; i < n && l->v_bias; i++) v[i] += l->v_bias[head * n + i];
    for (int g = 0; g < group; g++) {
        if (l->q_norm) rms_norm(q + g * n, q + g * n, l->q_norm, n, m->eps);
        rotate(m, q + g * n, t);
    }
    if (l->k_norm) rms_norm(k, k, l->k_norm, n, m->eps);
    rotate(m, k, t);
    int page = m->sequences[t]->pages[position / PAGE], r = position % PAGE;
    uint8_t *keys = key_strip(m, page, layer, head);  // positions are rows of K, columns of V
    for (int i = 0; i < n; i += ROWS) {
        uint8_t *values = value_strip(m, page, layer, head, i);
        if (m->kv_format == F32)
            for (int j = 0; j < ROWS; j++) {
                ((float *)keys)[(i + j) * ROWS + r] = k[i + j];
                ((float *)values)[r * ROWS + j] = v[i + j];
            }
        else
            for (int j = 0; j < ROWS; j++) {
                ((uint16_t *)keys)[((i + j) / 2 * ROWS + r) * 2 + j % 2] =
                    (uint16_t)float_to_bf16(k[i + j]);
                ((uint16_t *)values)[(r / 2 * ROWS + j) * 2 + r % 2] =
                    (uint16_t)float_to_bf16(v[i + j]);
            }
    }
}

// exp(score - top) of positions [from, to) of a chunk of n, zero elsewhere. top is the running
// maximum of the row; returns the factor that brings older sums down to the new one.
static float soften(float *scores, int n, int from, int to, float *top, float *total) {
    float maxima[W];
    vf best = splat(*top), sum[BLOCKS] = {{0}};
    for (int i = 0; i < from; i++) scores[i] = -1e30f;
    for (int i = to; i < n; i++) scores[i] = -1e30f;
    for (int i = 0; i < n; i += W) best = max_vf(best, load(scores + i));
    store(maxima, best);
    float old = *top;
    for (int i = 0; i < W; i++) *top = MAX(*top, maxima[i]);
    for (int i = 0; i < n; i += W) store(scores + i, exp_vf(load(scores + i) - *top));
    for (int i = 0; i < from; i++) scores[i] = 0;
    for (int i = to; i < n; i++) scores[i] = 0;
    for (int i = 0; i < n; i += W) sum[i / W % BLOCKS] += load(scores + i);
    vf shrink = exp_vf(splat(old - *top));
    *total = *total * shrink[0] + sum_rows(sum);
    return shrink[0];
}

// One block of queries (tokens of a page x the query heads of one KV head) against all it may see.
static void attend(Model *m, Scratch *s, int layer, const Block *block, int head) {
    int n = m->head_dim, group = m->heads / m->kv_heads, rows = block->count * group;
    int kind = kind_of(m->kv_format), width = (m->heads + 2 * m->kv_heads) * n;
    const Sequence *seq = m->sequences[block->first];
    int position = m->positions[block->first], end = position + block->count;
    float scale = 1.0f / sqrtf((float)n), *top = s->sums, *total = top + rows, *acc = total + rows;
    for (int r = 0; r < rows; r++) {
        const float *q = m->qkv + (size_t)(block->first + r / group) * width +
                         (head * group + r % group) * n;
        for (int i = 0; i < n; i++) s->row[i] = q[i] * scale;
        pack(kind, s->row, n, r, rows, &s->q);
        top[r] = -1e30f, total[r] = 0;
    }
    memset(acc, 0, sizeof(float) * (size_t)(rows * n));
    int seen = m->window ? MAX(0, position - m->window + 1) : 0;  // of the block's first token
    for (int start = seen / CHUNK * CHUNK; start < end; start += CHUNK) {
        const uint8_t *keys[CHUNK / PAGE], *values[CHUNK / PAGE];
        int first = start < seen ? (seen - start) / PAGE * PAGE : 0;  // page the window begins in
        int pages = (MIN(end - start, CHUNK) + PAGE - 1) / PAGE, length = pages * PAGE;
        for (int p = 0; p < pages; p++)
            keys[p] = key_strip(m, seq->pages[start / PAGE + p], layer, head);
        for (int p = first / PAGE; p < pages; p++)
            for (int r = 0; r < rows; r += TILE) {
                float out[TILE * ROWS];
                int M = MIN(TILE, rows - r);
                tiles[m->kv_format][M - 1](&keys[p], 1, n, &s->q, r, out);
                for (int i = 0; i < M; i++)
                    memcpy(s->scores + (r + i) * CHUNK + p * PAGE, out + i * ROWS,
                           sizeof(float[PAGE]));
            }
        float *shrink = acc + rows * n;
        for (int r = 0; r < rows; r++) {
            int last = position + r / group, from = m->window ? last - m->window + 1 : 0;
            int lo = MIN(MAX(from - start, 0), length), hi = MAX(lo, MIN(last + 1 - start, length));
            shrink[r] = soften(s->scores + r * CHUNK, length, lo, hi, &top[r], &total[r]);
            pack(kind, s->scores + r * CHUNK, length, r, rows, &s->p);
        }
        for (int i = 0; i < n; i += ROWS) {
            for (int p = 0; p < pages; p++)
                values[p] = value_strip(m, seq->pages[start / PAGE + p], layer, head, i);
            for (int r = 0; r < rows; r += TILE) {
                float out[TILE * ROWS];
                int M = MIN(TILE, rows - r);
                tiles[m->kv_format][M - 1](values, pages, PAGE, &s->p, r, out);
                for (int j = 0; j < M; j++)
                    for (int k = 0; k < ROWS; k += W) {
                        float *a = acc + (r + j) * n + i + k;
                        store(a, load(a) * shrink[r + j] + load(out + j * ROWS + k));
                    }
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        float *out = m->attended + (size_t)(block->first + r / group) * m->heads * n +
                     (head * group + r % group) * n;
        for (int i = 0; i < n; i++) out[i] = acc[r * n + i] / total[r];
    }
}

// ---- Forward: one batch of tokens through the layers --------------------------------------------

// Normalises (if weight) and packs rows x[T][stride]. A few short rows are packed by every thread
// for itself, which is cheaper than waiting for another; more are shared out, then awaited.
static const Activations *prepare(Model *m, int thread, int kinds, const float *x, int stride,
                                  int K, const float *weight, int T) {
    bool alone = T == 1 || T * K <= OWN;
    Activations *a = alone ? &m->scratch[thread].own : &m->shared;
    for (int t = alone ? 0 : thread; t < T; t += alone ? 1 : m->threads) {
        const float *row = x + (size_t)t * stride;
        if (weight) {
            rms_norm(m->scratch[thread].row, row, weight, K, m->eps);
            row = m->scratch[thread].row;
        }
        pack(kinds, row, K, t, T, a);
    }
    if (!alone) barrier(m);
    return a;
}

INLINE void tile_rows(const Model *m, const Matrix *w, int strip, const Activations *a, int t,
                      int M, float *out) {
    const uint8_t *at = m->strips + w->offset + w->pitch * (size_t)strip;
    tiles[w->format][M - 1](&at, 1, w->columns, a, t, out);
}
INLINE void put_rows(float *out, const float *rows, int n, bool add) {
    for (int i = 0; i < ROWS && n == ROWS; i += W) {
        vf x = load(rows + i);
        if (add) x += load(out + i);
        store(out + i, x);
    }
    for (int i = 0; i < n && n < ROWS; i++) out[i] = add ? out[i] + rows[i] : rows[i];
}
// out[t][row] (+)= w[row] . a[t]: this thread's share of the strips, all the tokens for each.
static void matmul(Model *m, int thread, const Matrix *w, const Activations *a, int T, float *out,
                   int stride, bool add) {
    int strips = (w->rows + ROWS - 1) / ROWS, end = strips * (thread + 1) / m->threads;
    for (int s = strips * thread / m->threads; s < end; s++)
        for (int t = 0; t < T; t += TILE) {
            float y[TILE * ROWS];
            int M = MIN(TILE, T - t), n = MIN(ROWS, w->rows - s * ROWS);
            tile_rows(m, w, s, a, t, M, y);
            for (int i = 0; i < M; i++)
                put_rows(out + (size_t)(t + i) * stride + s * ROWS, y + i * ROWS, n, add);
        }
}
// out[t][row] = silu(gate[row] . a[t]) * (up[row] . a[t])
static void matmul_swiglu(Model *m, int thread, const Layer *l, const Activations *a, int T) {
    int strips = (l->up.rows + ROWS - 1) / ROWS, end = strips * (thread + 1) / m->threads;
    for (int s = strips * thread / m->threads; s < end; s++)
        for (int t = 0; t < T; t += TILE) {
            float gate[TILE * ROWS], up[TILE * ROWS];
            int M = MIN(TILE, T - t), n = MIN(ROWS, m->hidden - s * ROWS);
            tile_rows(m, &l->gate, s, a, t, M, gate);
            tile_rows(m, &l->up, s, a, t, M, up);
            for (int i = 0; i < M * ROWS; i += W) {
                vf g = load(gate + i);
                store(gate + i, g / (exp_vf(-g) + 1.0f) * load(up + i));
            }
            float *o = m->ffn + (size_t)t * m->hidden + s * ROWS;
            for (int i = 0; i < M; i++, o += m->hidden) put_rows(o, gate + i * ROWS, n, false);
        }
}

static void embed_job(Model *m, int thread) {
    const Tensor *e = m->embedding;
    const Format *f = &formats[e->format];
    size_t row = e->columns / (size_t)f->columns * (size_t)f->bytes;
    for (int t = thread; t < m->T; t += m->threads) {
        read_row(e->format, m->gguf.bytes + m->gguf.data + e->offset + row * (size_t)m->tokens[t],
                 m->dim, m->x + (size_t)t * m->dim);
        for (int i = 0; i < m->rotary / 2; i++) {
            float angle = m->frequencies[i] * (float)m->positions[t];
            m->cosine[(size_t)t * m->rotary / 2 + i] = cosf(angle);
            m->sine[(size_t)t * m->rotary / 2 + i] = sinf(angle);
        }
    }
    barrier(m);
}

static void attention_layer(Model *m, int thread, int layer) {
    const Layer *l = &m->layers[layer];
    int n = m->head_dim, q = m->heads * n, kv = m->kv_heads * n, width = q + 2 * kv, T = m->T;
    int kinds = kind_of(l->q.format) | kind_of(l->k.format) | kind_of(l->v.format);
    const Activations *a = prepare(m, thread, kinds, m->x, m->dim, m->dim, l->attention_norm, T);
    matmul(m, thread, &l->q, a, T, m->qkv, width, false);
    matmul(m, thread, &l->k, a, T, m->qkv + q, width, false);
    matmul(m, thread, &l->v, a, T, m->qkv + q + kv, width, false);
    barrier(m);
    if (!m->distinct) {  // queries look at keys that other threads file
        for (int i = thread; i < T * m->kv_heads; i += m->threads)
            file_kv(m, layer, i / m->kv_heads, i % m->kv_heads);
        barrier(m);
    }
    for (int i = thread; i < m->n_blocks * m->kv_heads; i += m->threads) {
        const Block *block = &m->blocks[i / m->kv_heads];
        if (m->distinct) file_kv(m, layer, block->first, i % m->kv_heads);
        attend(m, &m->scratch[thread], layer, block, i % m->kv_heads);
    }
    barrier(m);
    a = prepare(m, thread, kind_of(l->o.format), m->attended, q, q, NULL, T);
    matmul(m, thread, &l->o, a, T, m->x, m->dim, true);
    barrier(m);
}

static void forward_job(Model *m, int thread) {
    embed_job(m, thread);
    for (int i = 0; i < m->layers_n; i++) {
        const Layer *l = &m->layers[i];
        attention_layer(m, thread, i);
        int kinds = kind_of(l->gate.format) | kind_of(l->up.format);
        const Activations *a = prepare(m, thread, kinds, m->x, m->dim, m->dim, l->ffn_norm, m->T);
        matmul_swiglu(m, thread, l, a, m->T);
        barrier(m);
        a = prepare(m, thread, kind_of(l->down.format), m->ffn, m->hidden, m->hidden, NULL, m->T);
        matmul(m, thread, &l->down, a, m->T, m->x, m->dim, true);
        barrier(m);
    }
    if (m->n_out == 0) return;
    for (int i = thread; i < m->n_out; i += m->threads) {  // final norm of the rows asked for
        float *row = m->hidden_wanted ? m->out + (size_t)i * m->dim : m->final + (size_t)i * m->dim;
        rms_norm(row, m->x + (size_t)m->out_token[i] * m->dim, m->output_norm, m->dim, m->eps);
    }
    barrier(m);
    if (m->hidden_wanted) return;
    const Activations *a = prepare(m, thread, kind_of(m->head.format), m->final, m->dim, m->dim,
                                   NULL, m->n_out);
    matmul(m, thread, &m->head, a, m->n_out, m->out, m->vocab, false);
}

// ---- Opening a model, sequences, and a step of several ------------------------------------------

static bool open_activations(Model *m, Activations *a, size_t rows, size_t K) {
    return (a->codes = allocate(m, rows * K, 1)) &&
           (a->facts = allocate(m, rows * K / GROUP, FACTS * sizeof(float))) &&
           (a->values = allocate(m, rows * K, sizeof(float))) &&
           (a->pairs = allocate(m, rows * K / 2, sizeof(Two)));
}
static bool open_buffers(Model *m) {
    size_t n = (size_t)m->head_dim, q = (size_t)m->heads * n, kv = (size_t)m->kv_heads * n;
    size_t dim = (size_t)m->dim, hidden = (size_t)m->hidden, K = MAX(MAX(dim, hidden), q);
    size_t rows = (size_t)MAX(64, m->heads / m->kv_heads);  // of queries in one block
    struct { float **at; size_t width; } rooms[] = {
        {&m->x, dim}, {&m->final, dim}, {&m->qkv, q + 2 * kv}, {&m->attended, q},
        {&m->ffn, hidden}, {&m->cosine, n}, {&m->sine, n}};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (!(*rooms[i].at = allocate(m, BATCH * rooms[i].width, sizeof(float)))) return false;
    if (!open_activations(m, &m->shared, BATCH, K)) return false;
    if (!(m->scratch = allocate(m, (size_t)m->threads, sizeof *m->scratch))) return false;
    for (Scratch *s = m->scratch; s < m->scratch + m->threads; s++)
        if (!(s->row = allocate(m, K, sizeof(float))) ||
            !(s->scores = allocate(m, rows * CHUNK, sizeof(float))) ||
            !(s->sums = allocate(m, rows * (n + 3), sizeof(float))) ||
            !open_activations(m, &s->own, 1, MAX(K, OWN)) || !open_activations(m, &s->q, rows, n) ||
            !open_activations(m, &s->p, rows, CHUNK))
            return false;
    return true;
}

CABIN_API void cabin_close(Model *m) {
    if (!m) return;
    m->job = NULL;
    if (m->workers) change(m, &m->epoch);
    for (int i = 1; m->workers && i < m->threads; i++) pthread_join(m->workers[i].id, NULL);
    free(m->gguf.values), free(m->gguf.tensors);
    if (m->arena)
        munmap(m->arena, (size_t)m->n_pages * m->page_bytes + 1);
    if (m->strips) munmap(m->strips - CACHE_HEADER, CACHE_HEADER + m->strips_size);
    if (m->gguf.bytes) munmap((void *)m->gguf.bytes, m->gguf.size);
    for (void **block = m->owned, **next; block; block = next) next = *block, free(block);
    free(m);
}

static bool start_threads(Model *m, int threads) {
    m->threads = threads > 0 ? MIN(threads, 256) : usable_cpus();
    pthread_mutex_init(&m->sleep_lock, NULL), pthread_cond_init(&m->woken, NULL);
    pthread_mutex_init(&m->page_lock, NULL), pthread_mutex_init(&m->forward_lock, NULL);
    if (!(m->workers = allocate(m, (size_t)m->threads, sizeof *m->workers))) return false;
    for (int i = 1; i < m->threads; i++) {
        Worker *w = &m->workers[i];
        w->model = m, w->thread = i;
        if (pthread_create(&w->id, NULL, work, w)) m->threads = i;  // carry on with those there are
    }
    return true;
}

// Opens a GGUF file; threads 0: as many as usable; kv_tokens 0: as many as the context is long.
CABIN_API Model *cabin_open(const char *path, int threads, int kv_tokens, int kv_f32,
                            int use_cache) {
    Model *m = calloc(1, sizeof *m);
    if (!m) return fail(NO_MEMORY, "no memory"), NULL;
    bool ok = gguf_open(&m->gguf, path) && configure(m) && bind_tensors(m) &&
              open_arena(m, kv_tokens > 0 ? kv_tokens : m->context, kv_f32) &&
              start_threads(m, threads) && open_buffers(m) && load_strips(m, path, use_cache);
    if (!ok) cabin_close(m);
    return ok ? m : NULL;
}

CABIN_API Sequence *cabin_sequence(Model *m) {
    Sequence *s = calloc(1, sizeof *s);
    if (s) s->model = m;
    else fail(NO_MEMORY, "no memory for a sequence");
    return s;
}
CABIN_API void cabin_free(Sequence *s) {
    if (!s) return;
    keep_pages(s, 0);
    free(s->pages);
    free(s);
}
static bool check_batch(Model *m, int n, Sequence **s, const int *counts, const int *tokens) {
    int pages = 0, at = 0;
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        if (!s[i] || s[i]->model != m || s[i]->busy || counts[i] < 1)
            ok = fail(INVALID, "item %d: an empty, foreign or repeated sequence", i);
        else if (s[i]->length + (int64_t)counts[i] > m->context)
            ok = fail(OVERFLOW, "item %d: %d tokens after %d pass the context of %d", i, counts[i],
                      s[i]->length, m->context);
        for (int j = 0; ok && j < counts[i]; j++, at++)
            if (tokens[at] < 0 || tokens[at] >= m->vocab)
                ok = fail(INVALID, "item %d: token %d is not in the vocabulary of %d", i,
                          tokens[at], m->vocab);
        if (ok) s[i]->busy = true, pages += pages_wanted(s[i], counts[i]);
        else n = i;
    }
    for (int i = 0; i < n; i++) s[i]->busy = false;
    if (ok && pages > m->free_pages)
        ok = fail(NO_PAGES, "the KV pool has %d free pages and needs %d", m->free_pages, pages);
    return ok;
}

// Queues one token of a sequence in the batch, and finds the block its queries belong to.
static void add_token(Model *m, Sequence *s, int token, bool wanted) {
    int t = m->T++, position = s->length++, group = m->heads / m->kv_heads;
    m->tokens[t] = token, m->positions[t] = position, m->sequences[t] = s;
    bool same = t > 0 && m->sequences[t - 1] == s;
    if (same) m->distinct = false;
    if (same && position % PAGE && (m->blocks[m->n_blocks - 1].count + 1) * group <= 64)
        m->blocks[m->n_blocks - 1].count++;
    else m->blocks[m->n_blocks++] = (Block){t, 1};
    if (wanted) m->out_token[m->n_out++] = t;
}

// One ragged step: appends counts[i] tokens to seqs[i]. want[i]: rows of output for item i (0 none,
// 1 the last token, 2 all); out takes them in order, vocab logits each, or dim hidden values.
CABIN_API int cabin_forward(Model *m, int n, Sequence **seqs, const int *counts, const int *tokens,
                            const uint8_t *want, int hidden, float *out) {
    pthread_mutex_lock(&m->forward_lock);
    pthread_mutex_lock(&m->page_lock);
    bool ok = check_batch(m, n, seqs, counts, tokens);
    for (int i = 0; i < n && ok; i++) ok = extend(seqs[i], counts[i]);
    pthread_mutex_unlock(&m->page_lock);
    m->hidden_wanted = hidden;
    for (int i = 0, j = 0; i < n && ok;) {
        m->T = m->n_blocks = m->n_out = 0, m->distinct = true, m->out = out;
        while (i < n && m->T < BATCH) {
            add_token(m, seqs[i], *tokens++, want[i] == 2 || (want[i] && j + 1 == counts[i]));
            if (++j == counts[i]) i++, j = 0;
        }
        run_job(m, forward_job);
        out += (size_t)m->n_out * (size_t)(hidden ? m->dim : m->vocab);
    }
    pthread_mutex_unlock(&m->forward_lock);
    return ok ? 0 : error_code;
}

// ---- Tokenizer: text <-> ids, with the vocabulary inside the GGUF -------------------------------
// Both kinds merge the best pair of neighbours until none is left. SPM (SentencePiece) spells a
// space as U+2581 and prefers the union with the highest score. BPE (GPT-2) spells each byte as one
// printable character, keeps within words, and prefers the pair that is first in a list of merges.

enum { SPM, BPE };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };    // tokenizer.ggml.token_type
enum { LETTER = 1, NUMBER = 2, SPACE = 4, NEWLINE = 8, OTHER = 16 };  // classes of characters
typedef struct { uint32_t hash; int32_t key; } Slot;                  // key -1: free
typedef struct { Text *keys; Slot *slots; uint32_t mask; } Index;     // open addressing
typedef struct { const char *name; bool gpt2; int digits; bool whole; } Splitter;

typedef struct {
    int kind, size;
    Index pieces, merges;            // text of a piece -> id; "left right" -> its place in the list
    const uint8_t *scores, *types;   // float and int32 of each piece, in the file, or NULL
    int bos, eos, unk;               // -1: none
    bool add_bos, add_eos, add_space_prefix;
    const Splitter *splitter;
    struct { char text[3]; uint8_t length; } spelling[256];  // of each byte
    int byte_ids[256];               // SPM: the pieces <0xNN>
    bool special_start[256];         // whether a special token begins with this byte
    int special_longest;
    uint8_t *classes;                // of every code point
} Tokenizer;

// How text is cut into words. gpt2: the older pattern, where a space may lead a number and a line
// break is but a space. digits: the longest run of digits in a word (0: any). whole: a word that is
// a piece is taken whole, whatever the merges say.
static const Splitter splitters[] = {
    {"default", true, 0, false},  {"gpt-2", true, 0, false},     {"smollm", true, 1, false},
    {"qwen2", false, 1, false},   {"llama-bpe", false, 3, true}, {"llama3", false, 3, true},
    {"llama-v3", false, 3, true}, {"smaug-bpe", false, 3, false},
};

// Unicode's letters, numbers and spaces (tools/unicode_table.py): distances between code points
// where membership flips, each some high digits '#'..'[' (base 57) and a last digit ']'..'~'.
static const char letters[] =
    "$|wcw$j^g^a^bt^|^0maikbd^^^&xb^__a^^c^^`^^^q^%l^'`e'{^$a_^c$d%`xaa$h$f$^_^%|^^l_d_g`_^m^^{z%"
    "rh^u~f_a^bsa^f^`^tvdhbu^cn$e$u$q`^o^dglmae___s^d^^`a`^m^j_^`k_g^eca__s^d^_^_^_|a^^p`mf^`^s^d"
    "^_^b`^o^l_t^he___s^d^_^b`^{_^`l^n^^c``^a`_^^^_`_```is^$oe^`^t^m`^w`_^__{^ae^`^t^g^b`^|_^_l_n"
    "f^`^$d_^m^b`e`ucbo`u^f^^_d$u$k^_id$u_^^^b^u^^^g^_f^_b^^ra}^$ze^$_xb&j$fq^mcaa`^`_d`aji^n$a^^"
    "b^_$f^,x^a_d^^^a_$d^a_~^a_d^^^a_l^$t^a_$~$`mm%o_c`5e_n^wb%dcedojpkokj^`l$o$^^a^$~%rdb_$]^^b%"
    "_g|$l{_bh$gaw$qtf$p%k^%v$jne$q{j_g$gw$_$d`g$__hb$f_`$da^c^_`^b(s${+c_c_$a_c_e^^^^^^^|_$p^d^^"
    "``^d`a_cajb`^d&k^j^mj%~^a^_g^^`bc^^^^^^a^h_abba^$o_$8|)vca`_i$a^^b^_$sd^mtfd^d^d^d^d^d^d^d%i"
    "^0x_$ebb_a%oc`^%s^ab$f^%wn}$km2_&9{${.;t$~$i_*|`mg_q$jm|_%_$lf_&^_$~__^^^erm^`^a^tz$ok$m$yc`"
    "^^_hygtvzd$jy^mb^ggb^$dt`^eqt`^`$m^^`__b_^^^u`_hd`ic_c_cfd^d^$f^kc&jz(Nqita$l'7q-w_&a$adibb^"
    "^g^j^b^^^_^_^&c~-to${_$q$ci&kb^&~$_wcwh%r`c_c_c_`$^i^w^p^_^l_k$]&r.lz`$l$j}jq^ec$ag{_$_ae$k'"
    "so$_a$_a$ce$oih^l^d^_^h^l^d^_`$oi,bfsgeuc^$e^f%^c_^^$g^_`^_tgtf|$|p^_gsgw%_$sc_${^la^`^z$ez`"
    "z$^e^yx$qgsgpjo&e%b$r$nj$nj$_$ayft*i$ec_m`$vzg^es$eo$irxti$p$t__^j$h}vw$_z^_^e$^`^i$kkar^^^$"
    "^o^vp_$zd^^^a^l^gd$j$ae___s^d^_^b`^o^ib{g^^_^^$a^^v^^^$g$poaq`{$kq_^^(k$j$da$_$kq^$v$fj^%`x$"
    "`d(l$g&k${|e_^_e^_^ul^^^%we_$bm^^^y^g$cd^r^h$ip^o%b(z~|f^$`n^$l{&gd^_^$ar^vc^_^}k^,rpl^^j^$]"
    "&s^%h>a)w(w$7o%zlBoncv%&nb4b&Ad{Vy3vd|n%hn{o$kma|rbp/u$h)d${&w%db^$}j${_^^y&,meGk$dg'Exa^d^_"
    "^+pl^z`_^kae.s$-{&bbj`fdg&(c%n^%`^__^___a^i^^^d^$|^a_e^d^y^a^b^^`d^-]_v^v^|^v^|^v^|^v^|^v^eY"
    "e|cc*t$y'g$hgdm^,l{o$g1ey)u{_^1pd^a^_^l^(x$v%]d^Fka^x^_^^_^^g^a^^^^c^a^^^^^^`^_^^_^^^^^^^^^^"
    "_^^_a^d^a^a^^^g^nb`^b^n%3]9%m}%+cc)o_%Zmk&Sxl5g$2o2}Og%Bfb%,g";
static const char numbers[] =
    "$kg&o_b^_`Mjg&}g(yg/ag&mgac&cg&mg&mg_c&ej&jged&^g&_ddp&dg%yg&mg%_q*{g%_g8bq<|`*^gcgsg+yg&wh'"
    "zgcg(ig%og&}gcgAw^`ccg(y$n_b8i$w%gs5o{Kv^9z^vfk`-`a'_g{e^l}g$bl20ug(og,kc'og$ag(ygsg%og.}g-Z"
    "qg1n$hi$tn_-^x$_az^e^&}b(}g>uevd$bf%dbsc'u__m_$i${f$o_{`%db&_eue$dd,uc$kgcg+c|'sg$ea&gd&}{&w"
    "g$wg'egdq*jg-_g&mg.]g&]gcq%ei/ip%vg6mg%oz)tg%_g/kg&]rBj&f+$lg$.{g%og&}g^d2mg*ut/=jgNmqiq&cvC"
    "r$m$/sg/kg1wg*fg8_f&wg:f$v^`^a%e$h^l?gj$;~g";
static const char spaces[] = "fbo^%}^w^%Ut^$1nhz_b^$j^%&s^";

static void mark_class(uint8_t *classes, const char *code, uint8_t class) {
    bool inside = false;
    for (int high = 0; *code; code++) {
        if (*code < ']') {
            high = high * 57 + *code - '#';
            continue;
        }
        int distance = high * 34 + *code - ']';
        if (inside) memset(classes, class, (size_t)distance);
        classes += distance;
        inside = !inside;
        high = 0;
    }
}

// The code point at `s` and its length in bytes. A byte that is not UTF-8 counts as a character.
static uint32_t utf8_decode(const char *s, const char *end, int *length) {
    uint8_t lead = (uint8_t)*s;
    int n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? lead : lead & (0x7Fu >> n);
    bool valid = (lead < 0x80 || lead >= 0xC0) && end - s >= n;
    for (int i = 1; valid && i < n; i++) {
        valid = (s[i] & 0xC0) == 0x80;
        c = c << 6 | (s[i] & 0x3F);
    }
    valid = valid && c <= 0x10FFFF;
    *length = valid ? n : 1;
    return valid ? c : 0xFFFD;
}

static uint32_t hash_text(uint32_t hash, const char *text, size_t length) {  // FNV, begun with 0
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)text[i]) * 16777619;
    return hash;
}

// The slot of the key text[0..length), or if left > 0 of that key with a space after `left` bytes.
// There is always a free slot, which is the answer for a missing key.
static Slot *find_slot(const Index *index, uint32_t hash, const char *text, size_t length,
                       size_t left) {
    size_t gap = left > 0;
    for (uint32_t at = hash ^ hash >> 15;; at++) {
        Slot *slot = &index->slots[at & index->mask];
        if (slot->key < 0) return slot;
        const Text *key = &index->keys[slot->key];
        if (slot->hash != hash || key->length != length + gap) continue;
        if (gap && (memcmp(key->text, text, left) || key->text[left] != ' ')) continue;
        if (!memcmp(key->text + left + gap, text + left, length - left)) return slot;
    }
}
static int find_piece(const Tokenizer *t, const char *text, int length) {  // its id, or -1
    size_t n = (size_t)length;
    return find_slot(&t->pieces, hash_text(0, text, n), text, n, 0)->key;
}
static int type_of(const Tokenizer *t, int id) {
    return id < 0 ? 0 : t->types ? t->types[4 * id] : NORMAL;  // little endian, and below 7
}

static int class_at(const Tokenizer *t, const char *s, const char *end, int *length) {
    *length = 0;
    return s < end ? t->classes[utf8_decode(s, end, length)] : 0;
}
// The end of the run of characters of this class at `s`, or of its first `most` (0: all).
static const char *run_end(const Tokenizer *t, const char *s, const char *end, int class,
                           int most) {
    int n, count = 0;
    while (class_at(t, s, end, &n) == class && (!most || count++ < most)) s += n;
    return s;
}
// The length of 's 't 're 've 'm 'll 'd at `s`, or 0. To those who ignore case, U+017F is an s.
static int contraction(const char *s, const char *end, bool ignore_case) {
    static const char *const tails[] = {"s", "t", "re", "ve", "m", "ll", "d", "\xC5\xBF"};
    for (int i = 0; *s == '\'' && i < 7 + ignore_case; i++) {
        int n = (int)strlen(tails[i]);
        if (end - s <= n) continue;
        if (!(ignore_case ? strncasecmp : strncmp)(s + 1, tails[i], (size_t)n)) return n + 1;
    }
    return 0;
}

// The end of the word at `s`: the first of these that matches, tried in this order,
//   newer  '(s|t|re|ve|m|ll|d)  [^\r\n\p{L}\p{N}]?\p{L}+  \p{N}{1,digits}
//           ?[^\s\p{L}\p{N}]+[\r\n]*  \s*[\r\n]+  \s+(?!\S)  \s+
//   gpt2   '(s|t|re|ve|m|ll|d)   ?\p{L}+   ?\p{N}+   ?[^\s\p{L}\p{N}]+  \s+(?!\S)  \s+
static const char *word_end(const Tokenizer *t, const char *s, const char *end) {
    const Splitter *p = t->splitter;
    int n, m, short_form = contraction(s, end, !p->gpt2);
    if (short_form) return s + short_form;
    int first = class_at(t, s, end, &n), second = class_at(t, s + n, end, &m);
    bool led = *s == ' ';
    if (first == LETTER) return run_end(t, s, end, LETTER, 0);
    if (first == NUMBER) return run_end(t, s, end, NUMBER, p->digits);
    if (second == LETTER && (p->gpt2 ? led : first != NEWLINE))
        return run_end(t, s + n, end, LETTER, 0);
    if (second == NUMBER && led && p->gpt2 && !p->digits) return run_end(t, s + n, end, NUMBER, 0);
    if (first == OTHER || (second == OTHER && led)) {
        s = run_end(t, s + n, end, OTHER, 0);
        return p->gpt2 ? s : run_end(t, s, end, NEWLINE, 0);
    }
    const char *stop = s, *last = s, *line = NULL;  // ends: of the space, all but one, its lines
    for (int class; (class = class_at(t, stop, end, &n)) & (SPACE | NEWLINE);) {
        last = stop;
        stop += n;
        if (class == NEWLINE) line = stop;
    }
    if (line && !p->gpt2) return line;
    // The last space is left to the word that follows, except before SmolLM's lone digits.
    bool alone = stop == end || (p->gpt2 && p->digits && class_at(t, stop, end, &n) == NUMBER);
    return alone || last == s ? stop : last;
}

typedef struct { int start, length, previous, next; } Symbol;  // length 0: merged into another
typedef struct { float score; int left, length; } Pair;        // `left` and its next: their union
typedef struct {
    const Tokenizer *t;
    char *text;       // the spelling of what is being merged
    Symbol *symbols;  // a linked list over it
    Pair *heap;       // candidates, the best first
    int heap_size, *out, count;
} Encoder;

static bool is_better(Pair a, Pair b) {
    return a.score > b.score || (a.score == b.score && a.left < b.left);
}
// Puts a pair on the heap if its union is a normal piece: text cannot forge special ones. A merge
// takes one pair off and adds at most two, so the heap never holds more than two per symbol.
static void propose(Encoder *e, int left) {
    const Tokenizer *t = e->t;
    if (left < 0 || e->symbols[left].next < 0) return;
    const char *text = e->text + e->symbols[left].start;
    size_t cut = (size_t)e->symbols[left].length;
    int length = (int)cut + e->symbols[e->symbols[left].next].length, at = e->heap_size;
    int id = find_piece(t, text, length);
    if (type_of(t, id) != NORMAL) return;
    Pair pair = {0, left, length};
    if (t->kind == BPE) {
        uint32_t hash = hash_text(hash_text(0, text, cut), " ", 1);
        hash = hash_text(hash, text + cut, (size_t)length - cut);
        int rank = find_slot(&t->merges, hash, text, (size_t)length, cut)->key;
        if (rank < 0) return;
        pair.score = (float)-rank;  // exact, for there are at most 2^24
    } else if (t->scores) {
        memcpy(&pair.score, t->scores + 4 * id, 4);
    }
    e->heap_size++;
    for (int up; at && is_better(pair, e->heap[up = (at - 1) / 2]); at = up)
        e->heap[at] = e->heap[up];
    e->heap[at] = pair;
}
static Pair take_best(Encoder *e) {
    Pair best = e->heap[0], last = e->heap[--e->heap_size];
    int at = 0;
    for (int child; (child = 2 * at + 1) < e->heap_size; at = child) {
        if (child + 1 < e->heap_size && is_better(e->heap[child + 1], e->heap[child])) child++;
        if (!is_better(e->heap[child], last)) break;
        e->heap[at] = e->heap[child];
    }
    e->heap[at] = last;
    return best;
}

// A symbol that is no piece is written in bytes, or else is unknown: one id for a run of those.
static void emit_symbol(Encoder *e, const char *text, int length) {
    const Tokenizer *t = e->t;
    int id = find_piece(t, text, length), missing = 0;
    for (int i = 0; i < length; i++) missing += t->byte_ids[(uint8_t)text[i]] < 0;
    if (id >= 0 && type_of(t, id) != CONTROL)
        e->out[e->count++] = id;
    else if (!missing)
        for (int i = 0; i < length; i++) e->out[e->count++] = t->byte_ids[(uint8_t)text[i]];
    else if (t->unk >= 0 && !(e->count && e->out[e->count - 1] == t->unk))
        e->out[e->count++] = t->unk;
}

// Encodes one word (SPM: all of the text), spelled in e->text.
static void encode_word(Encoder *e, int length) {
    Symbol *symbols = e->symbols;
    int count = 0, n, id = e->t->splitter->whole ? find_piece(e->t, e->text, length) : -1;
    if (type_of(e->t, id) == NORMAL) {
        e->out[e->count++] = id;
        return;
    }
    for (int at = 0; at < length; at += n, count++) {
        utf8_decode(e->text + at, e->text + length, &n);
        symbols[count] = (Symbol){at, n, count - 1, at + n < length ? count + 1 : -1};
    }
    for (int i = 0; i < count; i++) propose(e, i);
    while (e->heap_size) {
        Pair best = take_best(e);
        Symbol *left = &symbols[best.left];
        if (!left->length || left->next < 0) continue;
        Symbol *right = &symbols[left->next];
        if (left->length + right->length != best.length) continue;  // one of them has grown since
        if (right->next >= 0) symbols[right->next].previous = best.left;
        left->next = right->next;
        left->length = best.length;
        right->length = 0;
        propose(e, left->previous);
        propose(e, best.left);
    }
    for (int i = 0; i >= 0; i = symbols[i].next)
        emit_symbol(e, e->text + symbols[i].start, symbols[i].length);
}

static void encode_plain(Encoder *e, const char *s, const char *end) {  // no special tokens here
    const Tokenizer *t = e->t;
    for (bool prefix = t->add_space_prefix; s < end;) {
        const char *stop = t->kind == BPE ? word_end(t, s, end) : end;
        int length = 0;
        for (; s < stop; prefix = false) {
            int byte = prefix ? ' ' : (uint8_t)*s++;
            memcpy(e->text + length, t->spelling[byte].text, 3);
            length += t->spelling[byte].length;
        }
        encode_word(e, length);
    }
}

static int special_at(const Tokenizer *t, const char *s, const char *end) {  // the longest, or -1
    int best = -1, most = t->special_start[(uint8_t)*s] ? t->special_longest : 0;
    uint32_t hash = 0;
    for (int n = 1; n <= most && n <= end - s; n++) {
        hash = hash_text(hash, s + n - 1, 1);
        int id = find_slot(&t->pieces, hash, s, (size_t)n, 0)->key, type = type_of(t, id);
        if (type >= UNKNOWN && type <= USER_DEFINED) best = id;
    }
    return best;
}

// Writes the ids of a text to `out`, which has room for 4 * length + 8, and returns how many, or -1
// with error_text. parse_special: "<|im_end|>" becomes that token; never so for text by others. BOS
// is left to the caller (add_bos). Several threads may encode at once.
static int tokenizer_encode(const Tokenizer *t, const char *text, size_t length, bool parse_special,
                            int *out) {
    size_t most = length + 1;  // symbols: one a byte and the prefix; each is spelled in <= 3 bytes
    Encoder e = {t, malloc(3 * most), malloc(most * sizeof(Symbol)),
                 malloc(2 * most * sizeof(Pair)), 0, out, 0};
    bool ready = length < 1 << 28 && e.text && e.symbols && e.heap;
    const char *plain = text, *end = text + length;
    for (const char *s = text; ready && s < end;) {
        int id = parse_special ? special_at(t, s, end) : -1;
        size_t n = id < 0 ? 1 : (size_t)t->pieces.keys[id].length;
        if ((s += n) < end && id < 0) continue;
        encode_plain(&e, plain, id < 0 ? s : s - n);
        if (id >= 0) out[e.count++] = id;
        plain = s;
    }
    free(e.text), free(e.symbols), free(e.heap);
    if (!ready) fail(NO_MEMORY, "no memory to tokenize %zu bytes", length);
    return ready ? e.count : -1;
}

static int byte_of(Text piece) {  // what "<0xNN>" stands for, or -1
    char text[7] = "";
    unsigned byte = 256;
    if (piece.length == 6) memcpy(text, piece.text, 6);
    return sscanf(text, "<0x%2X>", &byte) == 1 && byte < 256 ? (int)byte : -1;
}

// Writes the bytes of one id to `buffer` and returns how many; a control token has none. Several
// ids may share one character, and an SPM text begins with the prefix, a space that is not its own.
static int tokenizer_decode(const Tokenizer *t, int id, char *buffer, int capacity) {
    int count = 0, type = id < t->size ? type_of(t, id) : 0;
    if (!type || type == CONTROL) return 0;
    const char *s = t->pieces.keys[id].text, *end = s + t->pieces.keys[id].length;
    char byte = (char)byte_of(t->pieces.keys[id]);
    if (type == BYTE && capacity > 0) return *buffer = byte, 1;
    for (int n; s < end; s += n) {
        utf8_decode(s, end, &n);
        bool spelled = false;
        for (int i = 0; type == NORMAL && !spelled && i < 256; i++) {
            spelled = t->spelling[i].length == n && !memcmp(t->spelling[i].text, s, (size_t)n);
            byte = (char)i;
        }
        int length = spelled ? 1 : n;
        if (length > capacity - count) break;
        memcpy(buffer + count, spelled ? &byte : s, (size_t)length);
        count += length;
    }
    return count;
}

// Reads a list of strings, none over 64 KiB, and returns how many. Of equal ones the last counts.
static int read_strings(const Gguf *g, const char *key, Index *index) {
    const Value *v = find(g, "%s", key);
    if (!v || v->type != ARRAY || v->element != STRING || !v->count || v->count > 1 << 24)
        return fail(BAD_FILE, "%s is missing or no list of strings", key);
    Cursor c = {v->data, v->end, false};
    uint32_t slots = 16;
    while (slots < v->count + v->count / 2) slots *= 2;
    *index = (Index){malloc(v->count * sizeof(Text)), malloc(slots * sizeof(Slot)), slots - 1};
    if (!index->keys || !index->slots) return fail(NO_MEMORY, "no memory for %s", key);
    memset(index->slots, 0xFF, slots * sizeof(Slot));
    for (int i = 0; i < (int)v->count; i++) {
        Text s = index->keys[i] = take_text(&c);
        if (s.length > 1 << 16) return fail(BAD_FILE, "%s: string %d is too long", key, i);
        uint32_t hash = hash_text(0, s.text, s.length);
        *find_slot(index, hash, s.text, s.length, 0) = (Slot){hash, i};
    }
    return (int)v->count;
}
static const uint8_t *read_numbers(const Gguf *g, const char *key, int count) {  // or NULL
    const Value *v = find(g, "%s", key);
    bool fits = v && v->type == ARRAY && v->element >= 4 && v->element <= 6;
    return fits && v->count == (uint64_t)count ? v->data : NULL;
}
static int read_id(const Gguf *g, const char *key, int size) {  // or -1
    double id = number(find(g, "%s", key), -1);
    return id >= 0 && id < size ? (int)id : -1;
}

// BPE: a printable byte spells itself, the n-th other one is U+0100 + n. SPM: only the space.
static void fill_spelling(Tokenizer *t) {
    for (int byte = 0, others = 0; byte < 256; byte++) {
        bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        int c = printable ? byte : 256 + others++;
        bool two = t->kind == BPE && c > 127;  // bytes of UTF-8
        t->spelling[byte].length = two ? 2 : 1;
        t->spelling[byte].text[0] = (char)(two ? 0xC0 | c >> 6 : byte);
        t->spelling[byte].text[1] = (char)(0x80 | (c & 0x3F));
    }
    if (t->kind == SPM) memcpy(&t->spelling[' '], "\xE2\x96\x81\x03", 4);
}

static void tokenizer_close(Tokenizer *t) {
    free(t->pieces.keys), free(t->pieces.slots), free(t->merges.keys), free(t->merges.slots);
    free(t->classes);
}

// Fills a zeroed Tokenizer that lives no longer than the file. On failure, error_text says why.
static bool tokenizer_open(Tokenizer *t, const Gguf *g) {
    const Splitter *last = splitters + sizeof splitters / sizeof *splitters - 1;
    Text model = text_of(find(g, "tokenizer.ggml.model"));
    Text pre = text_of(find(g, "tokenizer.ggml.pre"));
    t->kind = same_text(model, "gpt2") ? BPE : SPM;
    t->splitter = splitters;
    if (t->kind == SPM && !same_text(model, "llama"))
        return fail(UNSUPPORTED, "tokenizer.ggml.model is neither 'llama' nor 'gpt2'");
    if (t->kind == BPE) {
        while (pre.length && !same_text(pre, t->splitter->name))
            if (t->splitter++ == last)
                return fail(UNSUPPORTED, "tokenizer.ggml.pre '%.*s' is not supported",
                            (int)MIN(pre.length, 64u), pre.text);
        if (!read_strings(g, "tokenizer.ggml.merges", &t->merges)) return false;
    }
    if (!(t->size = read_strings(g, "tokenizer.ggml.tokens", &t->pieces))) return false;
    if (!(t->classes = malloc(0x110000))) return fail(NO_MEMORY, "no memory for the tokenizer");
    t->types = read_numbers(g, "tokenizer.ggml.token_type", t->size);
    t->scores = read_numbers(g, "tokenizer.ggml.scores", t->size);
    memset(t->byte_ids, 0xFF, sizeof t->byte_ids);
    for (int i = 0; i < t->size; i++) {
        Text piece = t->pieces.keys[i];
        int type = type_of(t, i), byte = type == BYTE ? byte_of(piece) : -1;
        if (byte >= 0) t->byte_ids[byte] = i;
        if (!piece.length || type < UNKNOWN || type > USER_DEFINED) continue;
        t->special_start[(uint8_t)piece.text[0]] = true;
        t->special_longest = MAX(t->special_longest, (int)MIN(piece.length, 256u));
    }
    fill_spelling(t);
    memset(t->classes, OTHER, 0x110000);
    mark_class(t->classes, letters, LETTER), mark_class(t->classes, numbers, NUMBER);
    mark_class(t->classes, spaces, SPACE);
    t->classes['\n'] = t->classes['\r'] = NEWLINE;
    t->bos = read_id(g, "tokenizer.ggml.bos_token_id", t->size);
    t->eos = read_id(g, "tokenizer.ggml.eos_token_id", t->size);
    t->unk = read_id(g, "tokenizer.ggml.unknown_token_id", t->size);
    bool bos = t->kind == SPM || t->splitter->whole;  // where the file does not say
    t->add_bos = t->bos >= 0 && number(find(g, "tokenizer.ggml.add_bos_token"), bos) != 0;
    t->add_eos = t->eos >= 0 && number(find(g, "tokenizer.ggml.add_eos_token"), 0) != 0;
    t->add_space_prefix =
        t->kind == SPM && number(find(g, "tokenizer.ggml.add_space_prefix"), 1) != 0;
    return true;
}

// ---- Sampler: from logits to a token ------------------------------------------------------------

typedef struct { float temperature, top_p; uint64_t state; } Sampler;
typedef struct { float probability; int id; } Candidate;

static double random_unit(uint64_t *state) {  // splitmix64, the top 53 bits
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}
static int by_probability(const void *a, const void *b) {
    float x = ((const Candidate *)a)->probability, y = ((const Candidate *)b)->probability;
    return x < y ? 1 : x > y ? -1 : ((const Candidate *)a)->id - ((const Candidate *)b)->id;
}
// Draws from softmax(logits / temperature), cut to the fewest tokens that weigh top_p together.
static int sample(Sampler *s, const float *logits, int n, Candidate *candidates) {
    int best = 0, count = 0;
    double total = 0, kept = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    if (s->temperature <= 0) return best;
    for (int i = 0; i < n; i++) total += exp((logits[i] - logits[best]) / s->temperature);
    for (int i = 0; i < n; i++) {  // what is below an even share of the rest cannot be in top_p
        double p = exp((logits[i] - logits[best]) / s->temperature) / total;
        if (s->top_p < 1 && p < (1 - s->top_p) / n) continue;
        candidates[count++] = (Candidate){(float)p, i};
    }
    qsort(candidates, (size_t)count, sizeof *candidates, by_probability);
    for (n = 0; n < count && kept < s->top_p; n++) kept += candidates[n].probability;
    double r = random_unit(&s->state) * kept;
    for (int i = 0; i < n - 1; i++)
        if ((r -= candidates[i].probability) < 0) return candidates[i].id;
    return candidates[MAX(n - 1, 0)].id;
}

// ---- main: complete a text, or chat -------------------------------------------------------------
#ifndef CABIN_LIBRARY

typedef struct {
    const char *model, *prompt;
    int threads, tokens, context;
    bool chat, cache;
    Sampler sampler;
} Options;
typedef struct {
    Model *model;
    Tokenizer tokenizer;
    Sequence *sequence;
    Sampler sampler;
    int *ids;                // what is to be fed next
    int count, room;
    float *logits;
    Candidate *candidates;
} Session;

static void die(const char *message) {
    fprintf(stderr, "run: %s\n", message);
    exit(1);
}
static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static void queue_text(Session *s, const char *text, bool special) {
    size_t length = strlen(text), need = (size_t)s->count + 4 * length + 8;
    if (need > INT_MAX / 8) die("the text is too long");
    if ((int)need > s->room) s->ids = realloc(s->ids, sizeof(int) * (size_t)(s->room = (int)need));
    if (!s->ids) die("no memory for the text");
    int n = tokenizer_encode(&s->tokenizer, text, length, special, s->ids + s->count);
    if (n < 0) die(error_text);
    s->count += n;
}
// Feeds what is queued, then prints up to limit tokens as they are drawn; stops at a control token.
static void generate(Session *s, int limit) {
    Model *m = s->model;
    int fed = s->count, drawn = 0;
    uint8_t last = 1;
    double start = seconds(), prefilled = 0;
    while (s->count > 0 && drawn < limit) {
        if (cabin_forward(m, 1, &s->sequence, &s->count, s->ids, &last, 0, s->logits)) {
            if (error_code != OVERFLOW || !drawn) die(error_text);
            fputs("\n[the context is full]", stderr);
            break;
        }
        if (!drawn) prefilled = seconds();
        int id = sample(&s->sampler, s->logits, m->vocab, s->candidates);
        s->ids[0] = id, s->count = 1, drawn++;
        if (id == s->tokenizer.eos || type_of(&s->tokenizer, id) == CONTROL) break;
        char text[512];
        int n = tokenizer_decode(&s->tokenizer, id, text, sizeof text);
        if (fwrite(text, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout)) exit(1);
    }
    fprintf(stderr, "\n[%d tokens read at %.1f/s, %d written at %.1f/s]\n", fed,
            fed / MAX(prefilled - start, 1e-9), drawn,
            (drawn - 1) / MAX(seconds() - prefilled, 1e-9));
}

// The common chat formats, known by a mark in the file's own template.
static const struct { const char *mark, *before, *after; } chats[] = {
    {"<|im_start|>", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"},
    {"<|start_header_id|>", "<|start_header_id|>user<|end_header_id|>\n\n",
     "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"<|user|>", "<|user|>\n", "</s>\n<|assistant|>\n"},
    {"[INST]", "[INST] ", " [/INST]"},
    {"", "User: ", "\nAssistant:"},  // no template: a base model
};
static void chat(Session *s, int limit) {
    Text template = text_of(find(&s->model->gguf, "tokenizer.chat_template"));
    int c = 0;
    while (*chats[c].mark && !memmem(template.text, template.length, chats[c].mark,
                                     strlen(chats[c].mark))) c++;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n; fputs("> ", stderr), (n = getline(&line, &room, stdin)) > 0;) {
        if (line[n - 1] == '\n') line[n - 1] = 0;
        queue_text(s, chats[c].before, true);
        queue_text(s, line, false);  // what a person types never becomes a control token
        queue_text(s, chats[c].after, true);
        generate(s, limit);
    }
    free(line);
}

static void usage(void) {
    fputs("usage: run MODEL.gguf [-p PROMPT] [-i] [options]\n"
          "  -p TEXT      complete this text (or give it as the second argument)\n"
          "  -i           chat, a line at a time\n"
          "  -n N         write at most N tokens (256)\n"
          "  -t N         threads (all this process may use)\n"
          "  -c N         context in tokens (the model's)\n"
          "  --temp X     temperature, 0 for the likeliest token (0.8)\n"
          "  --top-p X    keep the likeliest tokens that weigh X together (0.95)\n"
          "  --seed N     of the random numbers (the time)\n"
          "  --no-cache   do not keep repacked weights in MODEL.gguf.strips\n", stderr);
    exit(2);
}
static double argument(char **at, double low, double high) {
    char *end = NULL;
    double x = at[1] ? strtod(at[1], &end) : 0;
    if (end && *at[1] && !*end && x >= low && x <= high) return x;
    fprintf(stderr, "run: %s needs a number from %g to %g\n", at[0], low, high);
    exit(2);
}
static Options parse_options(char **argv) {
    Options o = {.tokens = 256, .cache = true, .sampler = {0.8f, 0.95f, (uint64_t)time(NULL)}};
    for (char **a = argv + 1; *a; a++) {
        if (!strcmp(*a, "-i")) o.chat = true;
        else if (!strcmp(*a, "--no-cache")) o.cache = false;
        else if (!strcmp(*a, "-p") && a[1]) o.prompt = *++a;
        else if (!strcmp(*a, "-n")) o.tokens = (int)argument(a++, 1, 1e9);
        else if (!strcmp(*a, "-t")) o.threads = (int)argument(a++, 1, 256);
        else if (!strcmp(*a, "-c")) o.context = (int)argument(a++, 1, 1e9);
        else if (!strcmp(*a, "--temp")) o.sampler.temperature = (float)argument(a++, 0, 100);
        else if (!strcmp(*a, "--top-p")) o.sampler.top_p = (float)argument(a++, 0, 1);
        else if (!strcmp(*a, "--seed")) o.sampler.state = (uint64_t)argument(a++, 0, 0x1p53);
        else if (**a == '-' || (o.model && o.prompt)) usage();
        else if (!o.model) o.model = *a;
        else o.prompt = *a;
    }
    if (!o.model) usage();
    return o;
}

int main(int argc, char **argv) {
    (void)argc;
    Options o = parse_options(argv);
    Session s = {.sampler = o.sampler};
    s.model = cabin_open(o.model, o.threads, o.context, 0, o.cache);
    if (!s.model || !tokenizer_open(&s.tokenizer, &s.model->gguf)) die(error_text);
    s.sequence = cabin_sequence(s.model);
    s.logits = malloc(sizeof(float) * (size_t)s.model->vocab);
    s.candidates = malloc(sizeof(Candidate) * (size_t)s.model->vocab);
    s.ids = malloc(sizeof(int) * (size_t)(s.room = 16));
    if (!s.sequence || !s.logits || !s.candidates || !s.ids) die("no memory");
    if (s.tokenizer.add_bos) s.ids[s.count++] = s.tokenizer.bos;
    if (o.prompt) queue_text(&s, o.prompt, false);
    if (s.count == 0 && !o.chat) die("an empty prompt, and this model has no token to begin with");
    if (o.chat) chat(&s, o.tokens);
    else generate(&s, o.tokens);
    cabin_free(s.sequence), cabin_close(s.model), tokenizer_close(&s.tokenizer);
    free(s.logits), free(s.candidates), free(s.ids);
    return 0;
}
#endif
