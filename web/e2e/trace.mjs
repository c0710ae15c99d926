// How long the page's main thread was at one task, by the clock and by the processor.

/** The longest tasks while `act` runs, in milliseconds. */
export async function longestTask(browser, page, act) {
  await browser.startTracing(page, { categories: ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline'] });
  await act();
  const { traceEvents: events } = JSON.parse((await browser.stopTracing()).toString());
  const mains = new Set(
    events.filter((it) => it.name === 'thread_name' && it.args?.name === 'CrRendererMain').map((it) => `${it.pid}/${it.tid}`),
  );
  const tasks = events.filter((it) => it.name === 'RunTask' && mains.has(`${it.pid}/${it.tid}`));
  if (tasks.length === 0) throw new Error('the browser traced no task');
  const longest = (field) => Math.round(Math.max(...tasks.map((it) => it[field] ?? 0)) / 1000);
  return { clock: longest('dur'), processor: longest('tdur') };
}
