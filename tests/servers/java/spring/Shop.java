import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.cloud.client.serviceregistry.Registration;
import org.springframework.cloud.client.serviceregistry.ServiceRegistry;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** A Spring Cloud application as people write them: it answers HTTP with its name, and its starter registers it. */
@SpringBootConfiguration(proxyBeanMethods = false)
@EnableAutoConfiguration
@RestController
public class Shop {
    private final ServiceRegistry<Registration> registry;
    private final Registration registration;
    private final String reply;

    @SuppressWarnings("unchecked") // each starter has a registry for registrations of its own type
    Shop(ServiceRegistry<?> registry, Registration registration, @Value("${reply}") String reply) {
        this.registry = (ServiceRegistry<Registration>) registry;
        this.registration = registration;
        this.reply = reply;
    }

    public static void main(String[] words) {
        SpringApplication.run(Shop.class, words);
    }

    @GetMapping("/**")
    String answer() {
        return reply;
    }

    /** Sets the status that the application has in its registry. */
    @PostMapping("/status")
    void status(@RequestBody String status) {
        registry.setStatus(registration, status);
    }

    @EventListener(ApplicationReadyEvent.class)
    void ready() {
        System.out.println("READY " + registration.getServiceId() + " " + registration.getUri());
    }
}
