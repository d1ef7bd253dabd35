// What this machine can do at best: sequential read bandwidth, and the peaks of int8, bf16 and fp32
// arithmetic in registers. bandwidth.py compiles this on the spot and loads it into the process that runs
// the engine, because on a shared host the memory bandwidth of one second says little about the next.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

enum { MAX_THREADS = 64, ACCUMULATORS = 12 }; // 12 chains hide a latency of 4 on 2 pipes, and more
typedef uint64_t u64x8 __attribute__((vector_size(64)));
typedef float f32x16 __attribute__((vector_size(64)));

typedef struct {
    const char *begin, *end; // this thread's share of the buffer
    int passes;
    double limit; // seconds of arithmetic
    double work, seconds;
    uint64_t sink;
    atomic_int *waiting;
} Job;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// All threads leave together, so that none is timed while another is still being created.
static void start_together(Job *job) {
    atomic_fetch_sub(job->waiting, 1);
    while (atomic_load(job->waiting) > 0) {}
}

static double run_jobs(void *(*body)(void *), Job *jobs, int threads) {
    pthread_t ids[MAX_THREADS];
    atomic_int waiting = threads;
    for (int i = 0; i < threads; i++) jobs[i].waiting = &waiting;
    int made = 1;
    for (; made < threads; made++)
        if (pthread_create(&ids[made], NULL, body, &jobs[made]) != 0) break;
    atomic_fetch_sub(&waiting, threads - made); // do not wait for threads that could not be created
    body(&jobs[0]);
    double slowest = jobs[0].seconds;
    for (int i = 1; i < made; i++) {
        pthread_join(ids[i], NULL);
        if (jobs[i].seconds > slowest) slowest = jobs[i].seconds;
    }
    return made == threads ? slowest : -1;
}

static void *read_body(void *argument) {
    Job *job = argument;
    start_together(job);
    double t = now();
    u64x8 a = {0}, b = {0}, c = {0}, d = {0};
    for (int pass = 0; pass < job->passes; pass++) {
        for (const char *p = job->begin; p < job->end; p += 256) {
            const u64x8 *v = (const u64x8 *)p;
            a ^= v[0], b ^= v[1], c ^= v[2], d ^= v[3];
        }
        __asm__ volatile("" ::: "memory"); // the next pass reads again
    }
    job->seconds = now() - t;
    a ^= b ^ c ^ d;
    for (int i = 0; i < 8; i++) job->sink ^= a[i];
    return NULL;
}

// Huge-page memory of `bytes`, touched; NULL if there is none.
void *probe_map(size_t bytes) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
    return memory;
}

void probe_unmap(void *memory, size_t bytes) { munmap(memory, bytes); }

// Seconds that `threads` threads need to read `bytes` of `memory` `passes` times, each one sequential share.
double probe_read(const void *memory, size_t bytes, int threads, int passes) {
    Job jobs[MAX_THREADS] = {0};
    if (threads < 1 || threads > MAX_THREADS) return -1;
    size_t share = bytes / (size_t)threads / 256 * 256;
    for (int i = 0; i < threads; i++) {
        const char *begin = (const char *)memory + share * (size_t)i;
        jobs[i] = (Job){.begin = begin, .end = begin + share, .passes = passes};
    }
    return run_jobs(read_body, jobs, threads);
}

// One arithmetic peak: STEP updates accumulator acc[k] from x and y and does OPS operations.
#define PEAK(name, type, set_x, set_y, STEP, OPS)                                                      \
    static void *name##_body(void *argument) {                                                         \
        Job *job = argument;                                                                           \
        type acc[ACCUMULATORS] = {{0}}, x = set_x, y = set_y;                                          \
        start_together(job);                                                                           \
        double t = now(), end = t + job->limit;                                                        \
        for (; now() < end; job->work += 4096.0 * ACCUMULATORS * (OPS))                                \
            for (int i = 0; i < 4096; i++) {                                                           \
                __asm__ volatile("" : "+" VECTOR_REGISTER(x), "+" VECTOR_REGISTER(y));                 \
                _Pragma("GCC unroll 12") for (int k = 0; k < ACCUMULATORS; k++) STEP;                  \
            }                                                                                          \
        job->seconds = now() - t;                                                                      \
        for (int k = 0; k < ACCUMULATORS; k++) job->sink ^= *(uint32_t *)&acc[k];                      \
        return NULL;                                                                                   \
    }
#if defined(__x86_64__)
#define VECTOR_REGISTER(v) "v"(v)
#else
#define VECTOR_REGISTER(v) "w"(v)
#endif
#define HAVE_INT8 1
#if defined(__AVX512VNNI__)
PEAK(int8, __m512i, _mm512_set1_epi8(1), _mm512_set1_epi8(1),
     acc[k] = _mm512_dpbusd_epi32(acc[k], x, y), 128)
#elif defined(__AVX2__)
PEAK(int8, __m256i, _mm256_set1_epi8(1), _mm256_set1_epi16(1),
     acc[k] = _mm256_add_epi32(acc[k], _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), y)), 64)
#elif defined(__ARM_FEATURE_DOTPROD)
PEAK(int8, int8x16_t, vdupq_n_s8(1), vdupq_n_s8(1),
     acc[k] = vreinterpretq_s8_s32(vdotq_s32(vreinterpretq_s32_s8(acc[k]), x, y)), 32)
#else
#undef HAVE_INT8
#define HAVE_INT8 0
#endif
#if defined(__AVX512BF16__)
#define HAVE_BF16 1
static inline __m512 bf16_step(__m512 acc, __m512 x, __m512 y) {
    return _mm512_dpbf16_ps(acc, (__m512bh)x, (__m512bh)y);
}
PEAK(bf16, __m512, _mm512_set1_ps(1), _mm512_set1_ps(1), acc[k] = bf16_step(acc[k], x, y), 64)
#else
#define HAVE_BF16 0
#endif
#if defined(__AVX512F__)
#define HAVE_FP32 1
PEAK(fp32, __m512, _mm512_set1_ps(1), _mm512_set1_ps(1), acc[k] = _mm512_fmadd_ps(x, y, acc[k]), 32)
#elif defined(__FMA__)
#define HAVE_FP32 1
PEAK(fp32, __m256, _mm256_set1_ps(1), _mm256_set1_ps(1), acc[k] = _mm256_fmadd_ps(x, y, acc[k]), 16)
#else
#define HAVE_FP32 0
#endif

static double peak(void *(*body)(void *), int threads, double seconds) {
    Job jobs[MAX_THREADS] = {0};
    if (threads < 1 || threads > MAX_THREADS) return -1;
    for (int i = 0; i < threads; i++) jobs[i].limit = seconds;
    double slowest = run_jobs(body, jobs, threads), work = 0;
    for (int i = 0; i < threads; i++) work += jobs[i].work;
    return slowest > 0 ? work / slowest : -1;
}

// Operations a second (a multiply and an add are two); -1 where this machine lacks the instruction.
double probe_int8(int threads, double seconds) {
#if HAVE_INT8
    return peak(int8_body, threads, seconds);
#else
    return (void)threads, (void)seconds, (void)peak, -1;
#endif
}

double probe_bf16(int threads, double seconds) {
#if HAVE_BF16
    return peak(bf16_body, threads, seconds);
#else
    return (void)threads, (void)seconds, -1;
#endif
}

double probe_fp32(int threads, double seconds) {
#if HAVE_FP32
    return peak(fp32_body, threads, seconds);
#else
    return (void)threads, (void)seconds, -1;
#endif
}
