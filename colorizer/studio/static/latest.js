// Makes a job that never runs twice at once. Asked while it runs, it runs once more afterwards, with
// what is wanted by then; how often it was asked doesn't matter.

export function runLatest(job) {
  let isRunning = false;
  let isWanted = false;
  return async () => {
    isWanted = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isWanted) {
        isWanted = false;
        await job();
      }
    } finally {
      isRunning = false;
    }
  };
}
