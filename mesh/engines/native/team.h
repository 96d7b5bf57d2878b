/* Threads that share the work of one call.
 *
 * Owns their life and the handing out of work. Must not know what is computed. A team lives as long as a
 * call: nothing is kept between two.
 *
 * Work is a count of equal units, handed out a few at a time to whoever asks. The caller works too and waits
 * only for units that somebody has begun, so a thread that the system does not run holds up nobody. Who waits
 * spins for some microseconds and then sleeps: OpenMP's threads spin on for milliseconds, on a busy machine in
 * the way of those that they wait for.
 */

#include <pthread.h>
#include <sched.h>

#define MAX_HELPERS 63
#define SPINS 150  /* microseconds, beside the work of one product */
#define YIELDS 50  /* after which it sleeps */
#define SHARES 6 /* of the work, for each thread: so many that all end at about the same time */

/* Does units [from, to) of some work; `member` is below the number of threads and no two have the same. */
typedef void Work(const void *what, int64_t from, int64_t to, int64_t member);

typedef struct Team Team;

typedef struct {
    Team *team;
    int64_t member;
    pthread_t thread;
} Helper;

struct Team {
    Work *work;
    const void *what;
    int64_t num_units, step;
    uint64_t shares; /* which work it is (24 bits), its number of shares (20 bits), the next one (20 bits) */
    int64_t num_done; /* shares of it */
    int is_over;
    int num_asleep; /* the caller included */
    pthread_mutex_t lock;
    pthread_cond_t news; /* work, its end, or the team's */
    int num_helpers;
    Helper helpers[MAX_HELPERS];
};

#define SHARE_BITS 20
#define SHARE_MASK ((UINT64_C(1) << SHARE_BITS) - 1)

static inline void team_pause(int turn) {
    if (turn >= SPINS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* as long as a pause is; yield would be nothing */
#endif
}

static inline int team_has_shares(uint64_t shares) {
    return (shares & SHARE_MASK) < (shares >> SHARE_BITS & SHARE_MASK);
}

static inline int team_has_news(const Team *team, int is_caller) {
    if (is_caller)
        return __atomic_load_n(&team->num_done, __ATOMIC_SEQ_CST) ==
               (int64_t)(__atomic_load_n(&team->shares, __ATOMIC_SEQ_CST) >> SHARE_BITS & SHARE_MASK);
    return team_has_shares(__atomic_load_n(&team->shares, __ATOMIC_SEQ_CST)) ||
           __atomic_load_n(&team->is_over, __ATOMIC_SEQ_CST);
}

static void team_wait(Team *team, int is_caller) {
    for (int turn = 0; turn < SPINS + YIELDS; turn++) {
        if (team_has_news(team, is_caller)) return;
        team_pause(turn);
    }
    pthread_mutex_lock(&team->lock);
    __atomic_add_fetch(&team->num_asleep, 1, __ATOMIC_SEQ_CST);
    while (!team_has_news(team, is_caller)) pthread_cond_wait(&team->news, &team->lock);
    __atomic_sub_fetch(&team->num_asleep, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&team->lock);
}

/* Whoever falls asleep counts itself before it looks a last time: one of the two sees the other. */
static void team_wake(Team *team) {
    if (!__atomic_load_n(&team->num_asleep, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->news);
    pthread_mutex_unlock(&team->lock);
}

/* Do shares of the work there is until all are begun. */
static void team_work(Team *team, int64_t member) {
    uint64_t shares = __atomic_load_n(&team->shares, __ATOMIC_SEQ_CST);
    while (team_has_shares(shares)) {
        int64_t from, to, num_shares = (int64_t)(shares >> SHARE_BITS & SHARE_MASK);
        if (!__atomic_compare_exchange_n(&team->shares, &shares, shares + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        /* The work stays what it is while one of its shares is not done. */
        from = (int64_t)(shares & SHARE_MASK) * team->step;
        to = from + team->step < team->num_units ? from + team->step : team->num_units;
        team->work(team->what, from, to, member);
        if (__atomic_add_fetch(&team->num_done, 1, __ATOMIC_SEQ_CST) == num_shares && member) team_wake(team);
        shares = __atomic_load_n(&team->shares, __ATOMIC_SEQ_CST);
    }
}

static void *team_help(void *argument) {
    Helper *helper = argument;
    while (!__atomic_load_n(&helper->team->is_over, __ATOMIC_SEQ_CST)) {
        team_work(helper->team, helper->member);
        team_wait(helper->team, 0);
    }
    return NULL;
}

/* Start a team; where the system gives fewer threads than asked for, it has fewer. */
static void team_begin(Team *team, int64_t num_threads) {
    memset(team, 0, offsetof(Team, helpers));
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->news, NULL);
    while (team->num_helpers < num_threads - 1 && team->num_helpers < MAX_HELPERS) {
        Helper *helper = team->helpers + team->num_helpers;
        helper->team = team;
        helper->member = team->num_helpers + 1;
        if (pthread_create(&helper->thread, NULL, team_help, helper)) break;
        team->num_helpers++;
    }
}

/* Do all units of some work; return when they are done. */
static void team_run(Team *team, Work *work, const void *what, int64_t num_units) {
    const int64_t num_shares = SHARES * (team->num_helpers + 1), step = (num_units + num_shares - 1) / num_shares;
    uint64_t next;
    if (!team->num_helpers || num_units < 2) {
        work(what, 0, num_units, 0);
        return;
    }
    team->work = work;
    team->what = what;
    team->num_units = num_units;
    team->step = step;
    __atomic_store_n(&team->num_done, 0, __ATOMIC_SEQ_CST);
    next = (__atomic_load_n(&team->shares, __ATOMIC_SEQ_CST) >> 2 * SHARE_BITS) + 1;
    next = next << SHARE_BITS | (uint64_t)((num_units + step - 1) / step);
    __atomic_store_n(&team->shares, next << SHARE_BITS, __ATOMIC_SEQ_CST);
    team_wake(team);
    team_work(team, 0);
    team_wait(team, 1);
}

static void team_end(Team *team) {
    __atomic_store_n(&team->is_over, 1, __ATOMIC_SEQ_CST);
    team_wake(team);
    for (int i = 0; i < team->num_helpers; i++) pthread_join(team->helpers[i].thread, NULL);
    pthread_cond_destroy(&team->news);
    pthread_mutex_destroy(&team->lock);
}
