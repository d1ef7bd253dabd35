// library.c: run.c without its main, and what only a program with many sequences asks of it: facts,
// forks, truncation, pages copied out and in. cabinos.engine.library declares these to Python.
#define CABIN_LIBRARY
#include "run.c"

CABIN_API const char *cabin_error(void) { return error_text; }  // of this thread's last failure
CABIN_API int cabin_error_code(void) { return error_code; }

// Facts of an open model, in the order cabinos.engine.library names them.
CABIN_API void cabin_facts(const Model *m, int64_t out[12]) {
    int64_t facts[] = {m->vocab, m->context, m->dim, m->layers_n, m->heads, m->kv_heads,
                       m->head_dim, m->threads, PAGE, m->n_pages, (int64_t)m->page_bytes,
                       (int64_t)m->fingerprint};
    memcpy(out, facts, sizeof facts);
}
CABIN_API int cabin_pages_free(Model *m) {
    pthread_mutex_lock(&m->page_lock);
    int n = m->free_pages;
    pthread_mutex_unlock(&m->page_lock);
    return n;
}

CABIN_API Sequence *cabin_fork(const Sequence *s) {
    Sequence *child = cabin_sequence(s->model);
    if (!child) return NULL;
    child->pages = malloc(sizeof *child->pages * (size_t)(s->n_pages + 8));
    if (!child->pages) return free(child), fail(NO_MEMORY, "no memory for a page table"), NULL;
    child->length = s->length, child->n_pages = s->n_pages, child->capacity = s->n_pages + 8;
    pthread_mutex_lock(&s->model->page_lock);
    for (int i = 0; i < s->n_pages; i++) s->model->references[child->pages[i] = s->pages[i]]++;
    pthread_mutex_unlock(&s->model->page_lock);
    return child;
}

CABIN_API void cabin_truncate(Sequence *s, int length) {
    keep_pages(s, (length + PAGE - 1) / PAGE);
    s->length = MIN(s->length, length);
}

// Copies the sequence's pages to (or, with restore, from) a buffer of n_pages * page bytes.
CABIN_API void cabin_copy_pages(Sequence *s, uint8_t *buffer, int restore) {
    const Model *m = s->model;
    size_t n;
    for (int p = 0; p < s->n_pages; p++)
        for (int i = 0; i < m->layers_n * m->kv_heads; i++)
            for (int j = -1; j < m->head_dim / ROWS; j++, buffer += n) {
                uint8_t *part = page_part(m, s->pages[p], i, j, &n);
                memcpy(restore ? part : buffer, restore ? buffer : part, n);
            }
}

// Gives a sequence room for count more tokens; an error, with nothing changed, if pages run out.
CABIN_API int cabin_extend(Sequence *s, int count, int advance) {
    Model *m = s->model;
    pthread_mutex_lock(&m->page_lock);
    int wanted = pages_wanted(s, count);
    bool ok = wanted <= m->free_pages ||
              fail(NO_PAGES, "the KV pool has no %d free pages", wanted);
    ok = ok && extend(s, count);
    if (ok && advance) s->length += count;
    pthread_mutex_unlock(&m->page_lock);
    return ok ? 0 : error_code;
}
