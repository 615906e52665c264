package org.example.shop;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.logging.Logger;

/** The warehouse's service: HTTP over a pool of connections, with time-outs, and a breaker that opens after failures. */
final class Warehouse {
    private static final Logger LOG = Logger.getLogger(Warehouse.class.getName());
    private static final int SIZE = 5;
    private static final int MOST_USES = 25;
    private final int port;
    private final Semaphore permits = new Semaphore(SIZE, true);
    private final Deque<Link> idle = new ArrayDeque<>();
    private int opened;
    private int failures;
    private long closedUntil;

    Warehouse(int port) {
        this.port = port;
    }

    /** One connection. */
    private static final class Link {
        final int number;
        final Socket socket = new Socket();
        final InputStream input;
        int uses;

        Link(int number, int port) throws IOException {
            this.number = number;
            try {
                socket.connect(new InetSocketAddress("127.0.0.1", port), 500);
            } catch (IOException error) {
                socket.close();
                throw error;
            }
            input = new BufferedInputStream(socket.getInputStream());
        }

        int exchange(String path, int timeout) throws IOException {
            uses++;
            socket.setSoTimeout(timeout);
            String request = "GET " + path + " HTTP/1.1\r\nHost: warehouse.example.org\r\n\r\n";
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            int status = Integer.parseInt(line().split(" ")[1]);
            int length = 0;
            for (String header = line(); !header.isEmpty(); header = line()) {
                if (header.toLowerCase().startsWith("content-length:")) {
                    length = Integer.parseInt(header.substring(15).strip());
                }
            }
            if (input.readNBytes(length).length < length) {
                throw new EOFException("answer cut short");
            }
            return status;
        }

        private String line() throws IOException {
            StringBuilder text = new StringBuilder();
            for (int next = input.read(); next != '\n'; next = input.read()) {
                if (next < 0) {
                    throw new EOFException("connection closed by the warehouse");
                }
                text.append((char) next);
            }
            return text.toString().strip();
        }
    }

    /** Ask for `path`; an `IOException` when no answer came within `timeout` ms or the answer is an error. */
    void ask(String path, int timeout) throws IOException, InterruptedException {
        synchronized (this) {
            if (System.currentTimeMillis() < closedUntil) {
                throw new IOException("circuit to the warehouse is open");
            }
        }
        if (!permits.tryAcquire(400, TimeUnit.MILLISECONDS)) {
            throw new IOException("no free connection to the warehouse within 400 ms, " + SIZE + " in use");
        }
        Link link = null;
        try {
            link = take();
            int status = link.exchange(path, timeout);
            give(link);
            if (status >= 500) {
                throw new WarehouseException("warehouse answered " + status + " to " + path);
            }
        } catch (WarehouseException error) {
            throw error;
        } catch (IOException error) {
            failed(link, error);
            throw error;
        } finally {
            permits.release();
        }
    }

    /** The warehouse answered that it could not. */
    static final class WarehouseException extends IOException {
        private static final long serialVersionUID = 1;

        WarehouseException(String message) {
            super(message);
        }
    }

    private Link take() throws IOException {
        int number;
        synchronized (this) {
            if (!idle.isEmpty()) {
                return idle.pop();
            }
            number = ++opened;
        }
        Link link = new Link(number, port);
        LOG.info("opened connection #" + number + " to the warehouse");
        return link;
    }

    private synchronized void give(Link link) throws IOException {
        failures = 0;
        if (link.uses < MOST_USES) {
            idle.push(link);
        } else {
            link.socket.close();
            LOG.info("retired connection #" + link.number + " after " + link.uses + " requests");
        }
    }

    private synchronized void failed(Link link, IOException error) throws IOException {
        if (link != null) {
            link.socket.close();
            LOG.info("dropped connection #" + link.number + " after " + link.uses + " requests: " + error.getMessage());
        }
        if (++failures >= 4) {
            failures = 2;
            closedUntil = System.currentTimeMillis() + 1000;
            LOG.warning("circuit to the warehouse opened for 1000 ms: " + error.getMessage());
        }
    }

    synchronized String state() {
        return (SIZE - permits.availablePermits()) + " connections in use, " + idle.size() + " idle";
    }

    synchronized void close() {
        for (Link link : idle) {
            try {
                link.socket.close();
            } catch (IOException error) {
                LOG.fine("connection #" + link.number + ": " + error);
            }
        }
        LOG.info("closed " + idle.size() + " idle connections to the warehouse");
    }
}
