package org.example.shop;

import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.http.HttpSessionEvent;
import jakarta.servlet.http.HttpSessionListener;
import java.io.File;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.logging.Level;
import java.util.logging.Logger;

/** What all pages share: stock, orders, sessions, locks, and the jobs that run beside the requests. */
public final class Shop implements ServletContextListener, HttpSessionListener {
    static final int ITEMS = 500;
    static final int AISLES = 8;
    static final Path HOME = Path.of(System.getProperty("shop.home"));
    private static final Logger LOG = Logger.getLogger("org.example.shop.Jobs");
    private static final Logger SESSIONS = Logger.getLogger("org.example.shop.Sessions");
    private static final long STARTED = System.currentTimeMillis();
    private static volatile Shop current;

    final Map<Integer, String> cache = new ConcurrentHashMap<>();
    final Set<String> tokens = ConcurrentHashMap.newKeySet();
    final ConcurrentLinkedQueue<Integer> queued = new ConcurrentLinkedQueue<>();
    final AtomicInteger sessions = new AtomicInteger();
    final AtomicInteger orders = new AtomicInteger(1000);
    final List<byte[]> imported = new ArrayList<>();
    final ReentrantLock[] aisles = new ReentrantLock[AISLES];
    final Warehouse warehouse = new Warehouse(Integer.getInteger("shop.warehouse"));
    private final Random random = new Random();
    private ScheduledExecutorService jobs;
    private volatile long lastBeat;

    /** The deployed shop. */
    static Shop get() {
        return current;
    }

    @Override
    public void contextInitialized(ServletContextEvent event) {
        for (int aisle = 0; aisle < AISLES; aisle++) {
            aisles[aisle] = new ReentrantLock();
        }
        AtomicInteger number = new AtomicInteger();
        jobs = Executors.newScheduledThreadPool(3, work -> new Thread(work, "jobs-" + number.incrementAndGet()));
        current = this;
        every(1000, "heartbeat", this::heartbeat);
        every(1000, "watchdog", this::watchdog);
        every(2000, "reconcile", this::reconcile);
        every(4000, "housekeeping", this::housekeeping);
        every(5000, "prices", () -> PriceList.read(HOME.resolve("prices.csv")));
        every(9000, "stocktaking", this::stocktaking);
        LOG.info("shop opened with " + ITEMS + " items in " + AISLES + " aisles, 6 jobs scheduled");
    }

    @Override
    public void contextDestroyed(ServletContextEvent event) {
        jobs.shutdownNow();
        try {
            jobs.awaitTermination(2, TimeUnit.SECONDS);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        warehouse.close();
        LOG.info("shop closed after order " + orders.get() + ", " + queued.size() + " orders still queued");
    }

    /** A job rests while a file `pause-NAME` lies in the shop's folder, as its handbook says. */
    private void every(long millis, String name, Job job) {
        jobs.scheduleWithFixedDelay(() -> {
            try {
                if (Files.exists(HOME.resolve("pause-" + name))) {
                    lastBeat = 0; // so that a rest is not taken for a delay
                } else {
                    job.run();
                }
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            } catch (Throwable error) { // or it would never run again
                LOG.log(Level.SEVERE, "job " + name + " failed", error);
            }
        }, millis / 2, millis, TimeUnit.MILLISECONDS);
    }

    private interface Job {
        void run() throws Exception;
    }

    private void heartbeat() {
        long now = System.currentTimeMillis();
        if (lastBeat > 0 && now - lastBeat > 1800) {
            LOG.warning("heartbeat is late by " + (now - lastBeat - 1000) + " ms");
        }
        lastBeat = now;
        Runtime runtime = Runtime.getRuntime();
        LOG.info("heartbeat: up " + (now - STARTED) / 1000 + " s, " + sessions + " sessions, "
                + ((runtime.totalMemory() - runtime.freeMemory()) >> 20) + " of " + (runtime.maxMemory() >> 20)
                + " MB, " + warehouse.state());
    }

    private void watchdog() {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        long[] stuck = threads.findDeadlockedThreads();
        if (stuck == null) {
            return;
        }
        for (ThreadInfo info : threads.getThreadInfo(stuck, true, true)) {
            LOG.severe("deadlock: " + info.toString().strip());
        }
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            if (thread.getId() == stuck[0]) {
                LOG.info("interrupting " + thread.getName() + " to resolve the deadlock");
                thread.interrupt();
            }
        }
    }

    private void reconcile() {
        int waiting = queued.size();
        int sent = 0;
        while (sent < waiting && queued.peek() != null) {
            int order = queued.peek();
            try {
                warehouse.ask("/items/" + order % ITEMS, 800);
            } catch (Exception error) {
                LOG.info("reconcile: " + queued.size() + " orders stay queued: " + error.getMessage());
                return;
            }
            queued.poll();
            sent++;
            LOG.info("order " + order + " sent to the warehouse at the second attempt");
        }
        if (waiting > 0) {
            LOG.info("reconcile: " + sent + " of " + waiting + " queued orders sent");
        }
    }

    private void housekeeping() {
        int deleted = 0;
        File[] pictures = HOME.resolve("pictures").toFile().listFiles((folder, name) -> name.endsWith(".jpg"));
        for (File picture : pictures == null ? new File[0] : pictures) {
            if (System.currentTimeMillis() - picture.lastModified() > 5000 && picture.delete()) {
                deleted++;
            }
        }
        int entries = cache.size();
        cache.keySet().removeIf(item -> random.nextInt(3) == 0);
        LOG.info("housekeeping: " + deleted + " pictures deleted, " + (entries - cache.size()) + " of " + entries
                + " cache entries dropped");
    }

    private void stocktaking() throws InterruptedException {
        int aisle = random.nextInt(AISLES);
        long started = System.currentTimeMillis();
        aisles[aisle].lockInterruptibly();
        try {
            Thread.sleep(200 + random.nextInt(700));
        } finally {
            aisles[aisle].unlock();
        }
        LOG.info("stocktaking of aisle " + aisle + " took " + (System.currentTimeMillis() - started) + " ms, "
                + random.nextInt(4) + " differences");
    }

    @Override
    public void sessionCreated(HttpSessionEvent event) {
        event.getSession().setMaxInactiveInterval(6);
        sessions.incrementAndGet();
        SESSIONS.info("session " + event.getSession().getId().substring(0, 10) + " opened");
    }

    @Override
    public void sessionDestroyed(HttpSessionEvent event) {
        sessions.decrementAndGet();
        SESSIONS.info("session " + event.getSession().getId().substring(0, 10) + " closed after "
                + (System.currentTimeMillis() - event.getSession().getCreationTime()) / 1000 + " s");
    }
}
