// Several threads share one model: each feeds, forks, truncates, saves and frees sequences of its
// own, at random. Run under ThreadSanitizer and AddressSanitizer by test_sanitizers.py. Prints the
// pages that were not given back.
#include "../../src/cabinos/engine/library.c"

enum { USERS = 3, ROUNDS = 15, ALIVE = 4 };

static void *use(void *argument) {
    Model *m = argument;
    Sequence *alive[ALIVE] = {0};
    uint64_t seed = (uint64_t)(uintptr_t)&alive;
    float *logits = malloc(sizeof(float) * (size_t)m->vocab);
    for (int round = 0; round < ROUNDS; round++) {
        int a = (int)(random_unit(&seed) * ALIVE), b = (int)(random_unit(&seed) * ALIVE);
        int tokens[40], count = 1 + (int)(random_unit(&seed) * 39);
        uint8_t last = 1;
        for (int i = 0; i < count; i++) tokens[i] = (int)(random_unit(&seed) * m->vocab);
        if (!alive[a]) alive[a] = cabin_sequence(m);
        cabin_forward(m, 1, &alive[a], &count, tokens, &last, 0, logits);  // may run out of pages
        if (a != b) {
            cabin_free(alive[b]);
            alive[b] = cabin_fork(alive[a]);
        }
        cabin_truncate(alive[a], (int)(random_unit(&seed) * (alive[a]->length + 1)));
        uint8_t *saved = malloc((size_t)alive[a]->n_pages * m->page_bytes + 1);
        cabin_copy_pages(alive[a], saved, 0);
        free(saved);
    }
    for (int i = 0; i < ALIVE; i++) cabin_free(alive[i]);
    free(logits);
    return NULL;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        Model *m = cabin_open(argv[i], 2, 800, 0, 0);
        pthread_t users[USERS];
        if (!m) return fprintf(stderr, "%s\n", error_text), 1;
        for (int u = 0; u < USERS; u++) pthread_create(&users[u], NULL, use, m);
        for (int u = 0; u < USERS; u++) pthread_join(users[u], NULL);
        printf("%d\n", m->n_pages - cabin_pages_free(m));
        cabin_close(m);
    }
    return 0;
}
