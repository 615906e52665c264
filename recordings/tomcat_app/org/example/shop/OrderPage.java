package org.example.shop;

import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.logging.Level;

/** Takes orders (`/orders`) and counts stock (`/stock`); both lock the aisles they work in. */
public final class OrderPage extends Page {
    private static final long serialVersionUID = 1;

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response)
            throws IOException, ServletException {
        try {
            if (request.getServletPath().equals("/stock")) {
                count(request, response);
            } else {
                order(request, response);
            }
        } catch (IllegalArgumentException error) {
            log.log(Level.WARNING, "order of " + who(request) + " refused: " + error.getMessage(), error);
            answer(response, 422, "refused");
        } catch (TimeoutException error) {
            log.log(Level.WARNING, "order of " + who(request) + " given up", error);
            answer(response, 409, "busy");
        } catch (InterruptedException error) {
            log.warning("interrupted while waiting for an aisle");
            answer(response, 503, "interrupted");
        }
    }

    private void order(HttpServletRequest request, HttpServletResponse response)
            throws IOException, InterruptedException, TimeoutException, ServletException {
        Shop shop = Shop.get();
        int item = number(request, "item", 1);
        int pieces = number(request, "pieces", 1);
        String token = request.getParameter("token");
        if (pieces < 1 || pieces > 20) {
            throw new IllegalArgumentException(pieces + " pieces of item " + item);
        }
        if (token != null && !shop.tokens.add(token)) {
            throw new IllegalStateException("form " + token + " was already submitted");
        }
        int order = shop.orders.incrementAndGet();
        log.info("order " + order + ": " + pieces + " of item " + item + " for " + who(request));
        int aisle = item % Shop.AISLES;
        reserve(shop.aisles[aisle], aisle);
        try {
            log.fine("order " + order + " reserved in aisle " + aisle);
        } finally {
            shop.aisles[aisle].unlock();
        }
        boolean gift = request.getParameter("gift") != null;
        try {
            shop.warehouse.ask(gift ? "/broken" : "/items/" + item, 800);
        } catch (IOException error) {
            later(order, error, request, response);
            return;
        }
        try {
            shop.warehouse.ask("/report/" + item, 285);
        } catch (IOException error) {
            log.warning("order " + order + " goes without a delivery date: " + error.getMessage());
        }
        log.info("order " + order + " placed, total " + (pieces * 990 + item) + " cents");
        answer(response, 201, "" + order);
    }

    /** The warehouse will hear of the order when it can; a customer who asked for it at once gets an error instead. */
    private void later(int order, IOException error, HttpServletRequest request, HttpServletResponse response)
            throws IOException, ServletException {
        if (request.getParameter("express") != null) {
            throw new ServletException("express order " + order + " cannot be sent", error);
        }
        Shop.get().queued.add(order);
        log.info("order " + order + " queued: " + error.getMessage());
        answer(response, 202, "" + order);
    }

    private void reserve(ReentrantLock lock, int aisle) throws InterruptedException, TimeoutException {
        long started = System.currentTimeMillis();
        if (!lock.tryLock(700, TimeUnit.MILLISECONDS)) {
            throw new TimeoutException("aisle " + aisle + " was not free within 700 ms");
        }
        long waited = System.currentTimeMillis() - started;
        if (waited > 50) {
            log.info("waited " + waited + " ms for aisle " + aisle);
        }
    }

    private void count(HttpServletRequest request, HttpServletResponse response)
            throws IOException, InterruptedException {
        Shop shop = Shop.get();
        int aisle = number(request, "aisle", 0);
        int then = number(request, "then", -1);
        int millis = number(request, "ms", 100);
        log.info("counting aisle " + aisle + (then < 0 ? "" : " and then " + then));
        shop.aisles[aisle].lockInterruptibly();
        try {
            Thread.sleep(millis);
            if (then >= 0) {
                shop.aisles[then].lockInterruptibly();
                shop.aisles[then].unlock();
            }
        } finally {
            shop.aisles[aisle].unlock();
        }
        log.info("counted aisle " + aisle + " in " + millis + " ms");
        answer(response, 200, "counted");
    }
}
