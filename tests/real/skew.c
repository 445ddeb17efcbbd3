/* A clock that is wrong for one program, by as many seconds as NARHAUL_TEST_SKEW says.
 *
 * Compiled by the tests (`cc -shared -fPIC`) and loaded in front of the C library with LD_PRELOAD. Only the
 * time of day is wrong; clocks that measure how long something takes go on as they do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, at);
  const char *skew = getenv("NARHAUL_TEST_SKEW");
  if (code == 0 && id == CLOCK_REALTIME && skew) at->tv_sec += atol(skew);
  return code;
}
